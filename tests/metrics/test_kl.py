"""KL divergence of class posteriors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from calm.errors import ConfigError
from calm.metrics.base import Item, Trial, Unscored, figures_of
from calm.metrics.kl import PosteriorDivergence, divergence, sigmoid, softmax
from calm.registry import build
from calm.types import Task, Waveform
from tests.scorer_models import noise, save_cnn14, tone

ITEM = Item(id="a", task=Task.SOUND, text="a dog barks")


@pytest.fixture(scope="module")
def metric(tmp_path_factory) -> PosteriorDivergence:
    folder = tmp_path_factory.mktemp("panns")
    save_cnn14(folder)
    return build("metric", {"name": "kl", "folder": str(folder)})


def test_it_is_pytorchs_divergence_with_the_original_as_the_target():
    original, clip = (3 * np.random.default_rng(seed).normal(size=527) for seed in (0, 1))
    for posterior, ours in ((lambda x: x.softmax(dim=-1), softmax), (torch.sigmoid, sigmoid)):
        p, q = posterior(torch.tensor(original)), posterior(torch.tensor(clip))
        wanted = float(functional.kl_div((q + 1e-6).log(), p, reduction="sum"))
        assert divergence(ours(original), ours(clip)) == pytest.approx(wanted, rel=1e-9)


def test_extreme_logits_stay_finite():
    logits = np.array([1000.0, -1000.0, 0.0])
    assert np.isfinite(divergence(softmax(logits), softmax(-logits)))
    assert np.isfinite(divergence(sigmoid(logits), sigmoid(-logits)))


def test_a_clip_is_as_its_original_only_where_it_is_the_original(metric):
    original = noise(0, seconds=2.0)
    same = metric.measure(Trial(item=ITEM, clip=original, target=original))
    other = metric.measure(Trial(item=ITEM, clip=tone(500, seconds=2.0), target=original))
    assert abs(same[0]) < 1e-3 < other[0]
    np.testing.assert_array_equal(same, metric.measure(Trial(item=ITEM, clip=original, target=original)))


def test_figures_are_means_over_clips(metric):
    metric.reset()
    rows = [metric.measure(Trial(item=ITEM, clip=tone(hz), target=noise(0))) for hz in (200, 400, 800)]
    for index, row in enumerate(rows):
        metric.update(index, row)
    found = figures_of(metric.compute())
    assert set(found) == {column.key for column in metric.columns} == set(metric.scores(np.atleast_2d(rows[0])))
    assert found["kl"].value == pytest.approx(np.mean([row[0] for row in rows])) and found["kl"].count == 3


def test_what_cannot_be_compared_is_unscored(metric):
    with pytest.raises(Unscored, match="no original"):
        metric.measure(Trial(item=ITEM, clip=noise(0)))
    with pytest.raises(Unscored, match="no samples"):
        metric.measure(Trial(item=ITEM, clip=dataclasses.replace(noise(0), audio=torch.zeros(1, 0)), target=noise(0)))
    silent = Waveform(audio=torch.zeros(1, 100), sample_rate=16_000)
    assert np.isfinite(metric.measure(Trial(item=ITEM, clip=silent, target=noise(0)))).all()


def test_without_weights_the_message_says_where_they_are():
    with pytest.raises(ConfigError, match=r"Cnn14_16k_mAP=0\.438\.pth or Cnn14_mAP=0\.431\.pth"):
        build("metric", "kl")
