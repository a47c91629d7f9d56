"""A small CLAP is trained, saved as the published ones are, and heard by the metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from benchmarks.clap_damage import CODE_MARGIN, Ears
from benchmarks.clap_small import batches_of, drawn_text, new_extractor, new_model, train, write_tokenizer
from calm import audio
from calm.evaluation.lists import ClipItem
from calm.metrics import Item, Trial
from calm.registry import build
from calm.types import Task
from tests.scorer_models import noise, tone

CLIPS = {"a low hum": tone(150), "a high whistle": tone(3000), "a loud hiss": noise(0)}


def item(path, text, *, task=Task.SOUND):
    return ClipItem(path=path, task=task, text=text, seconds=1.0, speaker=None, attributes={})


@pytest.fixture
def trained(tmp_path):
    """The metric by a model that heard the clips, clean and damaged, for a few steps."""
    from transformers import AutoTokenizer

    for text, clip in CLIPS.items():
        audio.write(tmp_path / f"{text}.wav", clip, provenance=None)
    write_tokenizer(list(CLIPS), tmp_path, size=300)
    extractor, tokenizer = new_extractor(), AutoTokenizer.from_pretrained(tmp_path)
    draw = batches_of(
        extractor,
        lambda texts: tokenizer(texts, padding=True, return_tensors="pt"),
        [item(tmp_path / f"{text}.wav", text) for text in CLIPS],
    )
    torch.manual_seed(0)
    model = new_model(len(tokenizer))
    losses = train(model, draw, progress=lambda step: step / 60)
    assert len(losses) == 60 and np.mean(losses[-5:]) < 0.5 * losses[0]
    extractor.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    return build("metric", {"name": "clap", "folder": str(tmp_path)})


def test_the_metric_gives_every_clip_its_own_caption_once_the_model_is_trained(trained):
    for own, clip in CLIPS.items():
        scores = {
            text: float(trained.measure(Trial(item=Item(id="x", task=Task.SOUND, text=text), clip=clip))[0])
            for text in CLIPS
        }
        assert max(scores, key=scores.get) == own, scores


def test_the_model_hears_in_training_what_the_extractor_gives_it_later():
    extractor = new_extractor()
    clips = [tone(440).audio[0].numpy(), noise(1).audio[0].numpy()[:5000]]
    expected = np.stack([extractor(clip, sampling_rate=16_000, return_tensors="np")["input_features"][0] for clip in clips])
    np.testing.assert_allclose(Ears(extractor).hear(clips).numpy(), expected, atol=0.2)  # dB, at the floor of float32


def test_the_louder_the_noise_the_further_a_clip_should_be_from_its_text():
    ears, clip = Ears(new_extractor()), tone(440).audio[0].numpy()
    damage = ears.hear_damaged([clip] * 40, np.random.default_rng(0))
    quiet = damage.features[:, 0, :, 40:].mean(dim=(1, 2))
    noisy = damage.margins > CODE_MARGIN + 1e-6
    assert 10 < int(noisy.sum()) < 40 and float(damage.margins.max()) < 0.33
    assert quiet[noisy].mean() > quiet[~noisy].mean()
    assert torch.isfinite(damage.features).all()


def test_what_kind_of_recording_it_is_stays_true_whatever_the_title():
    rng = np.random.default_rng(0)
    clip = item(None, "A calm flute piece.", task=Task.MUSIC)
    texts = {drawn_text(clip, ["My widow devoured some spinach."], rng) for _ in range(60)}
    kind = "A piece of music. "
    assert texts == {"A calm flute piece.", kind + "A calm flute piece.", kind + "My widow devoured some spinach."}
    assert drawn_text(item(None, "Hello.", task=Task.SPEECH), [], rng) == 'A voice speaks. The speaker says: "Hello."'
