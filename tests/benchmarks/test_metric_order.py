"""The embedded scorers order audio of the corpus. Long form, on real recordings too: benchmarks/metric_order.py."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.damage_stages import mp3, noised, shuffled
from benchmarks.metric_order import described, of_another_kind
from benchmarks.order import in_order, order_rows
from calm.corpus.clip import ClipPlan
from calm.corpus.render import make_clip
from calm.evaluation.language import write_language_model
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item, Trial, figures_of
from calm.registry import build, lookup
from calm.types import Task, Waveform

RATE = 16_000


def clips_of(task: Task, count: int) -> list[tuple[str, Waveform]]:
    import torch

    plan = ClipPlan(seed=0, sample_rate=RATE, words=(5, 8), sound_seconds=(2.0, 3.0), music_seconds=(2.0, 3.0))
    made = [make_clip(plan, task=task, split="validation", index=index) for index in range(count)]
    return [(c.text, Waveform(audio=torch.from_numpy(np.asarray(c.audio, np.float32))[None], sample_rate=RATE)) for c in made]


def noisy(clips, *, snr):
    return [(text, noised(clip, snr=snr, seed=number)) for number, (text, clip) in enumerate(clips)]


def value(metric, key, clips, *, reference=(), task=Task.SPEECH):
    metric.reset()
    for number, (text, clip) in enumerate(clips):
        metric.update(number, metric.measure(Trial(item=Item(id="x", task=task, text=text), clip=clip)))
    for number, (text, clip) in enumerate(reference):
        metric.update_reference(number, metric.measure(Trial(item=Item(id="x", task=task, text=text), clip=clip)))
    return figures_of(metric.compute())[key].value


def test_words_are_lost_in_noise_and_wrong_words_are_worse_still(tmp_path):
    pytest.importorskip("pocketsphinx", reason='needs `pip install "audiocalm[eval]"`')
    clips = clips_of(Task.SPEECH, 4)
    texts = [text for text, _ in clips]
    shuffled = [(text, clip) for text, (_, clip) in zip(texts[1:] + texts[:1], clips, strict=True)]
    metric = lookup("metric", "wer")(language=write_language_model(texts, folder=tmp_path))
    stages = {"original": clips, "noised": noisy(clips, snr=5.0), "shuffled": shuffled}
    assert in_order("wer", {name: value(metric, "wer_pooled", each) for name, each in stages.items()})


@pytest.fixture(scope="module")
def sets():
    """Stages of a set of sounds, and a reference set of other sounds."""
    sounds = clips_of(Task.SOUND, 32)
    held_out = sounds[1::2]
    stages = {"original": held_out, "noised": noisy(held_out, snr=20.0), "another kind": clips_of(Task.MUSIC, 16)}
    return stages, sounds[0::2]


def test_by_fad_sounds_are_nearer_to_sounds_than_noised_ones_than_music(sets):
    stages, reference = sets
    found = {stage: value(build("metric", "fad"), "fad", clips, reference=reference) for stage, clips in stages.items()}
    assert in_order("fad", found), found


def test_by_kad_sounds_are_nearer_to_sounds_than_what_is_noised_or_another_kind(sets):
    # Its kernel is near 0 for all that is far, so that two far sets have no order by it.
    stages, reference = sets
    found = {stage: value(build("metric", "kad"), "kad", clips, reference=reference) for stage, clips in stages.items()}
    assert found["original"] < min(found["noised"], found["another kind"]), found


def test_an_order_that_does_not_hold_is_seen():
    assert not in_order("fad", {"original": 1.0, "noised": 0.9})
    assert not in_order("sim", {"original": 0.5, "noised": 0.5})
    assert in_order("dnsmos_ovrl", {"original": 3.0, "noised": 2.0})


def test_a_row_says_whether_its_means_are_in_order_and_in_how_many_seeds():
    values = {"original": [1.0], "VAE of mini": [2.0], "MP3 16 kbit/s": [0.5], "noised 10 dB": [3.0, 1.5, 3.0], "kind": [4.0]}
    vae, codec = order_rows("fad", values, last="kind", snrs=[10])
    assert (vae["holds"], vae["seeds_in_order"], vae["seeds"]) == (True, 2, 3) and vae["mean"]["noised 10 dB"] == 2.5
    assert (codec["holds"], codec["seeds_in_order"]) == (False, 0)


def test_what_the_codec_leaves_is_as_long_as_the_clip_and_in_step_with_it():
    clip = clips_of(Task.MUSIC, 1)[0][1]
    heard = mp3(clip)
    assert heard.audio.shape == clip.audio.shape
    spectrum = np.fft.rfft(clip.audio[0].numpy()).conj() * np.fft.rfft(heard.audio[0].numpy())
    assert abs(int(np.fft.irfft(spectrum).argmax())) < 16, "one millisecond"


def test_no_clip_keeps_its_text_when_texts_are_shuffled():
    entries = [ManifestItem(item=Item(id=str(n), task=Task.SOUND, text=text)) for n, text in enumerate("aabbbc")]
    for seed in range(5):
        wrong = shuffled(entries, seed)
        assert all(mine.item.text != other.item.text for mine, other in zip(entries, wrong, strict=True))
        assert [entry.item.id for entry in wrong] == list("012345")


def test_a_text_of_another_kind_is_a_description_from_another_task():
    speech, sound, music = (
        described([ManifestItem(item=Item(id=f"{task}{n}", task=task, text=f"word{n}")) for n in range(20)]) for task in Task
    )
    wrong = of_another_kind(music, [speech, sound], seed=0)
    texts = [entry.item.text for entry in wrong]
    assert [entry.item.id for entry in wrong] == [entry.item.id for entry in music]
    assert all(text.startswith(("A voice speaks.", "A sound recording.")) for text in texts)
    assert 4 < sum(text.startswith("A voice speaks.") for text in texts) < 16
    assert all(entry.item.text.startswith("A piece of music. Word") for entry in music)
