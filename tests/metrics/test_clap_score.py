"""Cosine of clips and captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calm.metrics.base import Item, Trial, Unscored, figures_of
from calm.metrics.clap import ClapScore
from calm.registry import build
from calm.scorers.clap import Clap
from calm.types import Task, Waveform
from tests.scorer_models import noise, save_clap, tone


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def metric(folder) -> ClapScore:
    return build("metric", {"name": "clap", "folder": str(folder)})


def item(text: str, *, prompt: str = "") -> Item:
    return Item(id="a", task=Task.SOUND, text=text, prompt=prompt)


def test_it_is_the_cosine_of_transformers_own_call(metric, folder):
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    model, clip = ClapModel.from_pretrained(folder).eval(), tone(700, seconds=4.0, sample_rate=48_000)
    features = ClapFeatureExtractor.from_pretrained(folder)(clip.audio[0].numpy(), sampling_rate=48_000, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(["rain falls on a roof"], return_tensors="pt")
    with torch.no_grad():
        found = model(**tokens, **features)
        wanted = float(found.logits_per_audio / model.logit_scale_a.exp())
    assert metric.measure(Trial(item=item("rain falls on a roof"), clip=clip))[0] == pytest.approx(wanted, abs=1e-5)


def test_windows_of_a_long_clip_are_averaged_and_normalised(metric, folder):
    clip = noise(0, seconds=15.0, sample_rate=48_000)
    clap = Clap(folder=folder)
    heard = clap.embed(clip).mean(axis=0)
    wanted = clap.embed_text("a dog barks") @ heard / np.linalg.norm(heard)
    assert metric.measure(Trial(item=item("a dog barks"), clip=clip))[0] == pytest.approx(wanted, abs=1e-9)


def test_the_raw_caption_counts_not_the_prompt(metric):
    clip = noise(0)
    plain = metric.measure(Trial(item=item("a dog barks"), clip=clip))
    prompted = metric.measure(Trial(item=item("a dog barks", prompt="A sound recording. A dog barks."), clip=clip))
    np.testing.assert_array_equal(plain, prompted)
    assert metric.measure(Trial(item=item("a calm piano melody"), clip=clip))[0] != plain[0]


def test_the_figure_is_the_mean_of_the_cosines(metric):
    metric.reset()
    rows = [metric.measure(Trial(item=item("a dog barks"), clip=noise(seed))) for seed in range(3)]
    for index, row in enumerate(rows):
        metric.update(index, row)
    found = figures_of(metric.compute())["clap"]
    assert found.value == pytest.approx(np.mean(rows)) and found.count == 3
    assert metric.scores(np.atleast_2d(rows[0])) == {"clap": pytest.approx(rows[0][0])}


def test_a_clip_without_samples_or_a_caption_is_unscored(metric):
    with pytest.raises(Unscored, match="caption is empty"):
        metric.measure(Trial(item=item(" "), clip=noise(0)))
    with pytest.raises(Unscored, match="no samples"):
        metric.measure(Trial(item=item("a dog"), clip=Waveform(audio=torch.zeros(1, 0), sample_rate=48_000)))


def test_what_a_figure_depends_on_is_described(metric):
    described = metric.describe()
    assert described["scorer"] == "clap" and "raw caption" in described["text"] and len(described["sha256"]) == 64
