"""A small CLAP is trained, saved as the published ones are, and heard by the metric."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks.clap_small import new_extractor, new_model, train, write_tokenizer
from calm.metrics import Item, Trial
from calm.registry import build
from calm.types import Task
from tests.scorer_models import noise, tone

CLIPS = {"a low hum": tone(150), "a high whistle": tone(3000), "a loud hiss": noise(0)}


def test_the_metric_gives_every_clip_its_own_caption_once_the_model_is_trained(tmp_path):
    from transformers import AutoTokenizer

    write_tokenizer(list(CLIPS), tmp_path, size=300)
    extractor, tokenizer = new_extractor(), AutoTokenizer.from_pretrained(tmp_path)
    heard = [extractor(clip.audio[0].numpy(), sampling_rate=16_000, return_tensors="pt") for clip in CLIPS.values()]
    features = torch.cat([each["input_features"] for each in heard])
    torch.manual_seed(0)
    model = new_model(len(tokenizer))
    losses = train(model, features, tokenizer(list(CLIPS), padding=True, return_tensors="pt"), progress=lambda step: step / 40)
    assert len(losses) == 40 and losses[-1] < 0.5 * losses[0]
    extractor.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    metric = build("metric", {"name": "clap", "folder": str(tmp_path)})
    for own, clip in CLIPS.items():
        scores = {
            text: float(metric.measure(Trial(item=Item(id="x", task=Task.SOUND, text=text), clip=clip))[0])
            for text in CLIPS
        }
        assert max(scores, key=scores.get) == own, scores
