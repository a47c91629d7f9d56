"""The sound and music classifier."""

from __future__ import annotations

import pytest
import torch

from calm.errors import CheckpointError, DataError
from calm.evaluation.classifier import LABELS, Classifier, ClassifierConfig, judge, labels_of
from calm.evaluation.lists import load_clips
from calm.evaluation.network import Heard, Listener, log_mel
from calm.types import Task, Waveform


def heard(**strengths: float) -> Heard:
    presence, counts = torch.zeros(1, len(LABELS)), torch.zeros(1, len(LABELS))
    for name, value in strengths.items():
        presence[0, LABELS.index(name.replace("_", ":"))] = 5.0
        counts[0, LABELS.index(name.replace("_", ":"))] = value
    return Heard(presence=presence, counts=counts, embedding=torch.zeros(1, 64))


def asked(**counts: int) -> torch.Tensor:
    target = torch.zeros(len(LABELS))
    for name, count in counts.items():
        target[LABELS.index(name.replace("_", ":"))] = count
    return target


def test_a_verdict_tells_kinds_and_counts_apart():
    right = judge(heard(bell=2.2, rain=0), asked(bell=2, rain=1))
    assert (right.all_named, right.counts_right) == (True, True)
    assert judge(heard(bell=3.1), asked(bell=2)).counts_right is False
    assert judge(heard(knock=2), asked(bell=2)).all_named is False
    assert judge(heard(rain=0), asked(rain=1)).counts_right is None


def test_sounds_are_compared_with_sounds_and_instruments_with_instruments():
    verdict = judge(heard(bell=1, music_piano=1), asked(music_piano=1))
    assert verdict.all_named and verdict.counts_right is None


def test_a_clip_of_twice_the_length_has_about_twice_the_count():
    listener = Listener(len(LABELS)).eval()
    once = log_mel(Waveform(audio=torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)), sample_rate=16000))
    with torch.no_grad():
        one = listener(once[None], torch.tensor([once.shape[-1]])).counts
        two = listener(torch.cat([once, once], dim=-1)[None], torch.tensor([2 * once.shape[-1]])).counts
    torch.testing.assert_close(two, 2 * one, rtol=0.1, atol=0.02)


def test_padding_does_not_change_what_is_heard():
    listener = Listener(len(LABELS)).eval()
    mel = log_mel(Waveform(audio=torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)), sample_rate=16000))
    frames = torch.tensor([mel.shape[-1]])
    padded = torch.nn.functional.pad(mel, (0, 200), value=-9.0)
    with torch.no_grad():
        inside = listener(mel[None], frames), listener(padded[None], frames)
    # Only the few frames whose field of view reaches the end see a difference.
    torch.testing.assert_close(inside[0].embedding, inside[1].embedding, rtol=0, atol=0.5)


def test_labels_follow_the_generators_attributes(scenes_corpus):
    for item in load_clips(scenes_corpus, split="validation"):
        target = labels_of(item)
        named = {LABELS[i].removeprefix("music:") for i in torch.nonzero(target).flatten().tolist()}
        assert named == set(item.attributes.get("kinds") or item.attributes["instruments"])
        if item.task is Task.SOUND:
            assert target.sum() == sum(item.attributes["counts"])


def test_the_same_seed_gives_the_same_weights_and_speech_is_not_heard(scenes_corpus, voices_corpus, tmp_path):
    config = ClassifierConfig(steps=3, batch_size=4)
    first, second = (Classifier.train(*corpora, config=config) for corpora in ([scenes_corpus], [scenes_corpus, voices_corpus]))
    for name, tensor in first.listener.state_dict().items():
        assert torch.equal(tensor, second.listener.state_dict()[name]), name
    path = first.save(tmp_path / "cache" / "classifier.safetensors")
    clip = load_clips(scenes_corpus, split="validation")[0].audio()
    assert torch.equal(first.hear(clip).presence, Classifier.load(path).hear(clip).presence)


def test_a_damaged_file_and_a_corpus_without_sounds_are_refused(voices_corpus, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError):
        Classifier.load(tmp_path / "bad.safetensors")
    with pytest.raises(DataError):
        Classifier.train(voices_corpus)
