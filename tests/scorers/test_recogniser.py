"""The recogniser and its language model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("pocketsphinx", reason='needs `pip install "audiocalm[eval]"`')
pytest.importorskip("jiwer", reason='needs `pip install "audiocalm[eval]"`')

from calm.audio import resample
from calm.corpus.espeak import ESPEAK_RATE, Espeak
from calm.errors import InputError
from calm.evaluation.language import write_language_model
from calm.evaluation.pronounce import load_dictionary, pronounce
from calm.metrics.words import word_errors
from calm.scorers.recogniser import Recogniser
from calm.types import Waveform

TEXTS = ("The doctor walked to the old market.", "Did the farmer sing?", "Room seven is near the station.", "Oliver is happy.")


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> Recogniser:
    return Recogniser(language=write_language_model(TEXTS, folder=tmp_path_factory.mktemp("language")))


@pytest.fixture(scope="module")
def clips() -> list[Waveform]:
    espeak = Espeak()
    rendered = [espeak.render(t, accent="en-US", variant="m1", words_per_minute=160, pitch=50, pitch_range=50) for t in TEXTS]
    waves = [Waveform(audio=torch.from_numpy(np.asarray(r, np.float32))[None], sample_rate=ESPEAK_RATE) for r in rendered]
    return [resample(wave, 16000) for wave in waves]


def test_spoken_sentences_are_recognised_and_the_wrong_text_is_not(recogniser, clips):
    found = [recogniser.transcribe(clip).text for clip in clips]
    right = sum(word_errors(text, [one]).errors for text, one in zip(TEXTS, found, strict=True))
    wrong = sum(word_errors(text, [one]).errors for text, one in zip(TEXTS[::-1], found, strict=True))
    assert right <= 5 and wrong >= 15, found


def test_a_result_depends_on_the_clip_and_the_seed_alone(recogniser, clips):
    once = recogniser.transcribe(clips[1], dither_seed=1)
    recogniser.transcribe(clips[0])
    assert recogniser.transcribe(clips[1], dither_seed=1) == once
    louder = Waveform(audio=0.5 * clips[1].audio, sample_rate=16000)
    assert recogniser.transcribe(louder, dither_seed=1).text == once.text


def test_silence_and_damage(recogniser):
    silent = recogniser.transcribe(Waveform(audio=torch.zeros(1, 8000), sample_rate=16000))
    assert len(silent.text.split()) <= 2
    with pytest.raises(InputError):
        recogniser.transcribe(Waveform(audio=torch.full((1, 8000), float("nan")), sample_rate=16000))


def test_the_warp_of_a_voice_is_the_one_that_scores_best(recogniser, clips):
    warp = recogniser.choose_warps({"voice": clips[:1]})["voice"]
    scores = {w: recogniser.transcribe(clips[0], warp=w).score for w in recogniser.config.warps}
    assert scores[warp] == max(scores.values())


def test_the_language_model_holds_the_lists_words_and_says_which_it_lacks(tmp_path):
    model = write_language_model([*TEXTS, "Zorblax arrived."], folder=tmp_path)
    assert "zorblax" in model.unknown and 0 < model.oov_rate < 0.3
    words = {line.split()[0].partition(".")[0] for line in model.dictionary.read_text().splitlines()}
    assert "doctor" in words and "astronaut" not in words


def test_a_list_is_needed_for_its_language_model(tmp_path):
    with pytest.raises(InputError):
        write_language_model([], folder=tmp_path)


def test_tokens_of_classes_become_words(recogniser):
    assert recogniser.language.spoken("the clever.quality.base new_york.city.base") == "the clever new york"


@pytest.mark.parametrize(
    ("word", "phones"),
    [("purred", "P ER D"), ("dragonflies", "D R AE G AH N F L AY Z"), ("mashes", "M AE SH IH Z"), ("mashing", "M AE SH IH NG")],
)
def test_inflections_and_compounds_are_pronounced_from_their_parts(word, phones):
    dictionary = {k: v for k, v in load_dictionary().items() if k != word}
    assert phones in pronounce(word, dictionary)


def test_an_unknown_word_has_no_pronunciation():
    assert pronounce("zorblax", load_dictionary()) == ()
