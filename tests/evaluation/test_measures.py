"""The parts of an evaluation, on a tiny untrained model and a tiny corpus; and the tempo of a piece.

Both need librosa compiled, half a minute for one core: in one file, no worker waits for another.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from calm.config import load_config
from calm.evaluation.classifier import LABELS, Classifier
from calm.evaluation.measure_clips import classifier_path, measure_music, measure_sound, prompt_of
from calm.evaluation.measure_long import _still, _stuck, long_text, measure_long
from calm.evaluation.measure_speed import measure_speed
from calm.evaluation.network import Listener
from calm.evaluation.study import Study, as_json, consented
from calm.evaluation.tempo import estimate_tempo, tempo_error
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.precision import choose_precision
from calm.types import Task, Waveform
from tests.factory import tiny_generator


@pytest.fixture
def study(scenes_corpus, voices_corpus, tmp_path) -> Study:
    sampler = SamplerConfig(num_steps=1, max_seconds=0.5, stop_threshold=1.1, self_check=())
    study = Study(
        model=AudioCALM(tiny_generator(), sampler=sampler),
        corpus=scenes_corpus,
        split="validation",
        limit=2,
        seed=0,
        cache=tmp_path,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for corpus in (scenes_corpus, voices_corpus):
            Classifier(Listener(len(LABELS))).save(classifier_path(replace(study, corpus=corpus)))
    return study


def test_sound_is_measured_beside_originals_and_every_baseline(study):
    pytest.importorskip("librosa", reason='needs `pip install "audiocalm[eval]"`')
    sound = measure_sound(study)
    assert sound["exact_duration"].value == 1 and sound["all_named"]["originals"].count == 2
    assert sound["all_named"]["reconstructions"].count == 2
    assert set(sound["frechet"]) >= {"generated", "reconstructions", "noise", "originals_of_music"}
    assert all(math.isfinite(sound["frechet"][name]) for name in ("generated", "reconstructions", "noise"))
    music = measure_music(study)
    assert music["tempo"]["within_8_percent"]["originals"].count == 2
    assert json.loads(json.dumps(as_json(music))) == as_json(music)


def test_the_classifier_of_other_corpora_is_another_file(study, voices_corpus):
    others = [replace(study, corpus=voices_corpus), replace(study, listen_to=(voices_corpus,))]
    assert len({classifier_path(one) for one in (study, *others)}) == 3


def test_music_is_asked_for_with_the_tempo_that_it_is_judged_by(study):
    for item in study.clips(Task.MUSIC):
        assert prompt_of(item) == f"{item.text} Tempo: {item.attributes['tempo']} BPM."
    assert all(prompt_of(item) == item.text for item in study.clips(Task.SOUND))


def test_long_speech_is_a_text_in_pieces_and_long_music_has_the_asked_length(study, voices_corpus):
    speaking = Study(**{**vars(study), "corpus": voices_corpus})
    pieces = long_text(speaking, seconds=1.5)
    assert " ".join(pieces).count("sentence") == 2 and max(map(len, pieces)) <= 100
    found = measure_long(speaking, seconds=1.5)
    assert found["speech"]["pieces"] == len(pieces) and found["speech"]["seconds"] > 0
    assert found["music"]["seconds"] == 1.5 and not found["music"]["ended_early"]
    assert math.isfinite(found["music"]["drift"].level_db)
    assert 0 <= found["speech"]["stuck"] <= 1 and found["speech"]["stuck_originals"] is not None
    assert 0 <= found["music"]["still_piano"] <= found["music"]["still_music"] <= 1


def test_windows_of_silence_are_no_music():
    listener = Listener(len(LABELS))
    torch.nn.init.constant_(listener.presence.bias[LABELS.index("music:piano")], 1e3)  # hears nothing but pianos
    window = torch.randn(1, 6 * 16_000, generator=torch.Generator().manual_seed(0)).mul(0.1)

    def shares(*gains: float) -> dict[str, float]:
        clip = Waveform(audio=torch.cat([gain * window for gain in gains], dim=-1), sample_rate=16_000)
        return _still(Classifier(listener), clip)

    assert shares(1.0, 0.1) == {"still_music": 1.0, "still_piano": 1.0}
    assert shares(1.0, 1e-3) == {"still_music": 0.5, "still_piano": 0.5}


def test_speed_is_that_of_the_exported_model_in_the_precision_that_generation_chooses(study, tmp_path):
    config = load_config(["experiment=tiny", "sampler.num_steps=1", "sampler.max_seconds=0.5", "sampler.self_check=[]"])
    folder = save_pretrained(tmp_path / "export", model=build_model(config), config=config)
    found = measure_speed(study, folder=folder, runs=2)
    assert found["precision"] == choose_precision("auto", device=torch.device("cpu"))
    assert found["sound"]["audio_seconds"] == pytest.approx(5.0) and found["speech"]["audio_seconds"] <= 0.6
    assert all(found[str(task)]["rtf"].value > 0 for task in Task) and found["cold_start_seconds"] > 0


def test_a_clip_that_says_the_same_again_and_again_is_stuck_and_noise_is_not(study):
    noise = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)).mul(0.1)
    swell = noise * torch.linspace(0, 1, 16_000)
    stuck = Waveform(audio=swell.repeat(1, 6), sample_rate=16_000)
    free = Waveform(audio=torch.randn(1, 96_000, generator=torch.Generator().manual_seed(1)).mul(0.1), sample_rate=16_000)
    assert _stuck(study, [stuck]) > _stuck(study, [free]) == 0 and _stuck(study, []) is None


def test_progress_is_told_and_remembered_values_are_made_once(study):
    told, made = [], []
    watched = Study(**{**vars(study), "advance": lambda *what: told.append(what)})
    assert list(watched.each("count", ["a", "b"])) == ["a", "b"] and told == [("count", 1, 2), ("count", 2, 2)]
    for _ in range(2):
        assert watched.remembered("x", {"k": 1}, lambda: made.append(1) or [1, 2]) == [1, 2]
    assert made == [1] and watched.remembered("x", {"k": 2}, lambda: 3) == 3


def test_a_corpus_voice_becomes_a_reference_with_consent():
    clip = Waveform(audio=0.1 * torch.ones(1, 1600), sample_rate=16000)
    assert consented(clip).waveform is clip


def test_octave_errors_are_shown_apart():
    assert tempo_error(124, 120).right and not tempo_error(124, 120).octave
    assert tempo_error(61, 120).octave and not tempo_error(61, 120).right
    assert not tempo_error(100, 120).octave and not tempo_error(100, 120).right


@pytest.mark.parametrize("tempo", [90, 120])
def test_clicks_have_the_tempo_at_which_they_come(tempo):
    pytest.importorskip("librosa", reason='needs `pip install "audiocalm[eval]"`')
    audio = torch.zeros(1, 16000 * 8)
    burst = torch.randn(400, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 0, 400)
    for beat in range(int(8 * tempo / 60)):
        start = round(beat * 60 / tempo * 16000)
        audio[0, start : start + 400] += 0.5 * burst[: audio.shape[1] - start]
    assert tempo_error(estimate_tempo(Waveform(audio=audio, sample_rate=16000)), tempo).right
