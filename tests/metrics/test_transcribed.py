"""WER by Whisper and HuBERT: tiny random networks in the real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("jiwer", reason='needs `pip install "audiocalm[eval]"`')

from calm import registry
from calm.audio import resample
from calm.errors import ConfigError
from calm.metrics import Unscored
from calm.metrics.words import word_errors
from calm.scorers.pieces import split_quietly
from calm.scorers.transcribers import HUBERT_FILES, WHISPER_FILES, HubertCTC, Whisper
from calm.scorers.weights import Weights
from tests.metrics.trials import silence, trial
from tests.scorers.checkpoints import noise, save_hubert, save_whisper


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("recognisers")
    return {"wer_whisper": save_whisper(out / "whisper"), "wer_hubert": save_hubert(out / "hubert")}


@pytest.fixture(scope="module", params=["wer_whisper", "wer_hubert"])
def metric(request, folders):
    return registry.build("metric", {"name": request.param, "folder": str(folders[request.param])}, device="cpu")


def transcriber(folders, name: str) -> Whisper | HubertCTC:
    kind, files = {"wer_whisper": (Whisper, WHISPER_FILES), "wer_hubert": (HubertCTC, HUBERT_FILES)}[name]
    return kind(Weights("owner/name", files=files, folder=folders[name]))


def test_whispers_text_is_the_greedy_path_of_its_own_scores(folders):
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    folder, clip = folders["wer_whisper"], noise(1.3, seed=4)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    features = WhisperFeatureExtractor.from_pretrained(folder)(clip.audio[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    start = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    ids = tokenizer.convert_tokens_to_ids(start)
    longest = model.generation_config.max_length + len(start)  # transformers does not count the prompt
    with torch.no_grad():
        while len(ids) < longest and ids[-1] != tokenizer.eos_token_id:
            logits = model(features.input_features, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
    expected = tokenizer.decode(ids[len(start) :], skip_special_tokens=True).strip()
    found = transcriber(folders, "wer_whisper").transcribe(clip)
    assert len(set(expected)) > 1 and found == expected
    assert transcriber(folders, "wer_whisper").transcribe(clip) == found


def test_huberts_text_is_the_best_labels_without_repeats_and_blanks(folders):
    from transformers import HubertForCTC

    folder, clip = folders["wer_hubert"], noise(1.3, seed=5)
    model = HubertForCTC.from_pretrained(folder, dtype=torch.float32).eval()
    audio = clip.audio[0]
    audio = (audio - audio.mean()) / (audio.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        labels = model(audio[None]).logits[0].argmax(-1).tolist()
    names = {n: token for token, n in json.loads((folder / "vocab.json").read_text()).items()}
    kept = [n for n in labels if names[n] not in ("<s>", "</s>", "<unk>")]
    letters = [names[n] for n, before in zip(kept, [None, *kept[:-1]], strict=True) if n != before and names[n] != "<pad>"]
    expected = "".join(letters).replace("|", " ").strip()
    assert len(expected) > 3
    assert transcriber(folders, "wer_hubert").transcribe(clip) == expected


def test_a_long_clip_is_heard_to_its_end_in_pieces(folders):
    clip = noise(5.0, seed=6)
    clip.audio[:, 29_000:31_000] *= 0.01  # a pause before the limit of 2 s
    whisper = transcriber(folders, "wer_whisper")
    pieces = split_quietly(clip.audio[0], sample_rate=16_000, max_seconds=2.0)
    assert len(pieces) >= 3
    assert 29_000 < len(pieces[0]) < 31_000
    alone = [whisper.transcribe(type(clip)(audio=piece[None], sample_rate=16_000)) for piece in pieces]
    assert whisper.transcribe(clip) == " ".join(alone)


def test_a_model_of_english_alone_needs_no_language(tmp_path):
    folder = save_whisper(tmp_path / "english", is_multilingual=False)
    weights = Weights("owner/name", files=WHISPER_FILES, folder=folder)
    assert Whisper(weights).transcribe(noise(1.0))


def test_rows_are_errors_and_words_of_what_was_heard(metric):
    clip = noise(1.2, seed=7, sample_rate=24_000)
    row = metric.measure(trial(clip, text="One two, three-four."))
    heard = metric._transcriber.transcribe(resample(clip, 16_000))
    assert row.tolist() == [word_errors("one two threefour", [heard], normalise=metric._normalise).errors, 3]
    assert metric.scores(row[None]) == {metric.key: row[0] / 3}
    assert [column.key for column in metric.columns] == [metric.key, f"{metric.key}_pooled"]


@pytest.mark.parametrize("clip", [silence(1.0), silence(0.0), noise(0.05)], ids=["silent", "empty", "short"])
def test_a_clip_that_says_nothing_has_lost_all_words(metric, clip):
    assert metric.measure(trial(clip, text="three small words")).tolist() == [3, 3]


def test_an_item_without_words_and_a_damaged_clip_are_not_scored(metric):
    with pytest.raises(Unscored, match="no words"):
        metric.measure(trial(noise(1.0), text=" ?! "))
    damaged = noise(1.0)
    damaged.audio[0, 5] = float("nan")
    with pytest.raises(Unscored, match="not finite"):
        metric.measure(trial(damaged, text="words"))


def test_a_result_names_weights_decoding_and_normaliser(metric):
    about = json.loads(json.dumps(metric.describe()))
    assert about["normaliser"] == {"name": "seed_tts"} and about["sample_rate"] == 16_000
    assert {len(value) for value in about["weights"]["sha256"].values()} == {64}
    assert "config.json" in about["weights"]["sha256"] and "transformers" in about["version"]


def test_the_networks_are_no_part_of_the_metrics_state(metric):
    metric.measure(trial(noise(0.5), text="word"))
    assert list(metric.parameters()) == [] and list(metric.children()) == []


@pytest.mark.parametrize("name", ["wer_whisper", "wer_hubert", "sim_wavlm", "sim_wavlm_xvector", "utmos"])
def test_missing_weights_are_one_message_that_says_what_to_put_where(name, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    metric = registry.build("metric", {"name": name, "repo": "no-such-owner/no-such-repository"})
    with pytest.raises(ConfigError, match="no-such-repository") as error:
        metric.describe()
    assert "`folder`" in str(error.value)
    metric = registry.build("metric", {"name": name, "folder": str(tmp_path)})
    with pytest.raises(ConfigError, match="lacks"):
        metric.measure(trial(noise(1.0), text="a word", reference=noise(1.0, seed=1)))


def test_an_unknown_normaliser_is_found_out_before_a_clip_is_heard():
    with pytest.raises(ConfigError, match="normaliser"):
        registry.build("metric", {"name": "wer_whisper", "normaliser": "none"})


def test_pieces_are_the_whole_and_none_is_too_long():
    audio = torch.from_numpy(np.random.default_rng(0).normal(size=70_123))
    pieces = split_quietly(audio, sample_rate=1_000, max_seconds=30.0)
    assert torch.equal(torch.cat(pieces), audio)
    assert all(len(piece) <= 30_000 for piece in pieces) and all(len(piece) >= 24_000 for piece in pieces[:-1])
    assert len(split_quietly(audio[:30_000], sample_rate=1_000, max_seconds=30.0)) == 1
