"""Frechet audio distance: definition, keys, interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calm.metrics.base import Item, Rows, Trial, Unscored, figures_of
from calm.metrics.embedded import interval
from calm.metrics.fad import FrechetAudioDistance, frechet_influences
from calm.metrics.frechet import Gaussian, frechet_distance
from calm.registry import build
from calm.scorers.motion import MelMotion
from calm.types import Task, Waveform
from tests.scorer_models import noise, save_clap, save_cnn14, save_vggish

#: numbers of a row of the default embedding
WIDTH = MelMotion.width
ITEM = Item(id="a", task=Task.SOUND, text="a dog barks")


def sample(seed: int, *, clips: int = 40, windows: int = 3, size: int = WIDTH, shift: float = 0.0) -> Rows:
    """Windows of a clip are alike."""
    rng = np.random.default_rng(seed)
    rows = 0.7 * rng.normal(size=(clips, 1, size)) + 0.7 * rng.normal(size=(clips, windows, size)) + shift
    return Rows(indices=np.repeat(np.arange(clips), windows), values=rows.reshape(-1, size))


def filled(metric, rows: Rows, reference: Rows):
    for index in np.unique(reference.indices):
        metric.update_reference(int(index), reference.values[reference.indices == index])
    for index in np.unique(rows.indices):
        metric.update(int(index), rows.values[rows.indices == index])
    return metric


def test_it_equals_the_formula_with_a_general_matrix_root_and_torchmetrics():
    linalg = pytest.importorskip("scipy.linalg")
    from torchmetrics.image.fid import _compute_fid

    rows, reference = sample(0, clips=120, shift=0.2), sample(1, clips=150)
    found = figures_of(filled(FrechetAudioDistance(), rows, reference).compute())["fad"]
    (m1, s1), (m2, s2) = ((x.values.mean(axis=0), np.cov(x.values, rowvar=False)) for x in (rows, reference))
    wanted = np.square(m1 - m2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert found.value == pytest.approx(wanted, rel=1e-6)
    assert found.value == pytest.approx(float(_compute_fid(*map(torch.tensor, (m1, s1, m2, s2)))), rel=1e-6)
    assert found.low < found.value < found.high and found.count == 120


def test_the_order_in_which_clips_come_does_not_matter():
    rows, reference = sample(0), sample(1)
    first, second = filled(FrechetAudioDistance(), rows, reference), FrechetAudioDistance()
    for index in reversed(range(40)):
        second.update(index, rows.values[rows.indices == index])
        second.update_reference(index, reference.values[reference.indices == index])
    assert figures_of(first.compute()) == figures_of(second.compute())


def test_the_influence_of_a_clip_is_how_the_distance_moves_when_it_weighs_more():
    rows, second = sample(2, clips=30, size=6, shift=0.3), Gaussian.of(sample(3, size=6).values)
    influences = frechet_influences(rows, first=Gaussian.of(rows.values), second=second)
    assert influences.mean() == pytest.approx(0, abs=1e-9)

    def weighted(clip: int, extra: float) -> float:
        weights = np.ones(len(rows)) + extra * 30 * (rows.indices == clip)
        mean = weights @ rows.values / weights.sum()
        apart = rows.values - mean
        # The unbiased covariance of the figure itself, with weights in place of counts
        covariance = (apart * weights[:, None]).T @ apart / weights.sum() * len(rows) / (len(rows) - 1)
        return frechet_distance(Gaussian(mean=mean, covariance=covariance, count=len(rows)), second)

    slopes = np.array([(weighted(clip, 1e-5) - weighted(clip, -1e-5)) / 2e-5 for clip in range(30)])
    np.testing.assert_allclose(influences, slopes - slopes.mean(), rtol=0.06, atol=0.03 * np.abs(slopes).max())


def covered(*, size: int, clips: int, shift: float, runs: int = 150) -> float:
    second = Gaussian.of(sample(1000, clips=200, size=size).values)

    def distance(seed: int) -> tuple[Rows, Gaussian, float]:
        rows = sample(seed, clips=clips, size=size, shift=shift)
        first = Gaussian.of(rows.values)
        return rows, first, frechet_distance(first, second)

    expected = np.mean([distance(seed)[2] for seed in range(2000, 2400)])
    hits = 0
    for seed in range(runs):
        rows, first, value = distance(seed)
        found = interval(value, frechet_influences(rows, first=first, second=second))
        hits += found.low <= expected <= found.high
    return hits / runs


@pytest.mark.parametrize(("size", "clips", "shift"), [(6, 40, 0.3), (6, 40, 0.0), (24, 20, 0.2)])
def test_the_interval_covers_the_expected_figure_about_as_often_as_it_says(size, clips, shift):
    # The last has fewer clips than dimensions: there, resampling the figure itself is off by several spreads.
    assert 0.88 <= covered(size=size, clips=clips, shift=shift) <= 1.0


def test_the_interval_is_no_wider_than_the_spread_of_figures_by_half():
    second = Gaussian.of(sample(1000, clips=200, size=24).values)
    spread, widths = [], []
    for seed in range(200):
        rows = sample(seed, clips=20, size=24, shift=0.2)
        first = Gaussian.of(rows.values)
        spread.append(frechet_distance(first, second))
        found = interval(0.0, frechet_influences(rows, first=first, second=second))
        widths.append((found.high - found.low) / (2 * 1.96))
    assert 0.9 < np.mean(widths) / np.std(spread) < 1.5


def test_clips_that_are_all_alike_have_a_figure():
    rows = Rows(indices=np.arange(5), values=np.ones((5, WIDTH)))
    found = figures_of(filled(FrechetAudioDistance(), rows, sample(0)).compute())["fad"]
    assert np.isfinite([found.value, found.low, found.high]).all()


def test_a_set_of_one_row_has_no_figure():
    one = Rows(indices=np.zeros(1, int), values=np.ones((1, WIDTH)))
    assert figures_of(filled(FrechetAudioDistance(), one, sample(0)).compute()) == {}


@pytest.mark.parametrize(
    ("name", "save", "width"),
    [("mel", lambda _: None, 128), ("vggish", save_vggish, 128), ("panns", save_cnn14, 128), ("clap", save_clap, 12)],
)
@pytest.mark.parametrize("kind", ["fad", "kad"])
def test_every_embedding_has_its_own_key(tmp_path, kind, name, save, width):
    save(tmp_path)
    metric = build("metric", {"name": kind, "embedding": name, "folder": str(tmp_path)})
    for index in range(3):
        rows = metric.measure(Trial(item=ITEM, clip=noise(index, seconds=1.0)))
        assert rows.shape == (1, width)
        metric.update(index, rows)
        metric.update_reference(index, metric.measure(Trial(item=ITEM, clip=noise(10 + index))))
    assert set(figures_of(metric.compute())) == {f"{kind}_{name}"} == {column.key for column in metric.columns}
    assert metric.describe()["scorer"] == name


def test_a_clip_without_samples_is_unscored_and_silence_is_scored():
    metric = FrechetAudioDistance()
    with pytest.raises(Unscored, match="no samples"):
        metric.measure(Trial(item=ITEM, clip=Waveform(audio=torch.zeros(1, 0), sample_rate=16_000)))
    silent = metric.measure(Trial(item=ITEM, clip=Waveform(audio=torch.zeros(1, 8000), sample_rate=16_000)))
    assert silent.shape == (1, WIDTH) and np.isfinite(silent).all()
