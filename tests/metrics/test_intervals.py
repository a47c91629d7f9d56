"""Figures and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from calm.errors import InputError
from calm.metrics.intervals import mean, median, rate, rate_ratio, ratio_of_sums


def test_the_interval_of_a_mean_covers_the_truth_in_about_95_of_100_cases():
    rng = np.random.default_rng(0)
    figures = [mean(rng.normal(3.0, 1.0, 60), seed=i) for i in range(100)]
    assert 88 <= sum(figure.low <= 3.0 <= figure.high for figure in figures) <= 100


def test_a_rate_of_all_hits_has_wilsons_lower_bound():
    figure = rate([True] * 20)
    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low == pytest.approx(20 / (20 + 1.959964**2))


def test_a_paired_difference_is_narrower_than_the_two_figures_apart():
    rng = np.random.default_rng(1)
    words = np.full(200, 8.0)
    hard = rng.integers(0, 8, 200).astype(float)
    ours = hard + rng.integers(0, 2, 200)
    paired = ratio_of_sums(ours - hard, words)
    alone = ratio_of_sums(ours, words)
    assert paired.value == pytest.approx((ours - hard).sum() / words.sum())
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_relative_rates_and_medians_are_what_they_say():
    assert rate_ratio([True, False, False, False], [True, True, False, False]).value == 0.5
    assert median([1.0, 2.0, 30.0]).value == 2.0


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(10.0)
    assert mean(values, seed=3) == mean(values, seed=3) != mean(values, seed=4)


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_no_figure_is_made_of_nothing(values):
    with pytest.raises(InputError):
        mean(values)


@pytest.mark.parametrize("statistic", [mean, median])
def test_the_interval_is_close_to_scipys_percentile_bootstrap(statistic):
    scipy_stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(2).gamma(2.0, 1.0, 80)
    ours = statistic(values)
    numpy_statistic = {mean: np.mean, median: np.median}[statistic]
    theirs = scipy_stats.bootstrap(
        (values,), numpy_statistic, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.12 * width and abs(ours.high - theirs.high) < 0.12 * width


def test_the_interval_of_a_pooled_rate_is_close_to_scipys():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(4)
    words = rng.integers(3, 20, 90).astype(float)
    errors = rng.binomial(words.astype(int), 0.2).astype(float)
    ours = ratio_of_sums(errors, words)
    theirs = scipy_stats.bootstrap(
        (errors, words), lambda e, w, axis: e.sum(axis) / w.sum(axis), paired=True, vectorized=True, n_resamples=4000,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.12 * width and abs(ours.high - theirs.high) < 0.12 * width


def test_the_bootstrap_is_2000_draws_of_numpys_generator_and_its_percentiles():
    rng = np.random.default_rng(6)
    words = rng.integers(3, 20, 13)
    errors = rng.integers(0, 5, 13)
    generator, draws = np.random.default_rng(9), []
    for _ in range(40):
        for chosen in generator.integers(13, size=(50, 13)).tolist():
            draws.append(sum(int(errors[i]) for i in chosen) / sum(int(words[i]) for i in chosen))
    draws.sort()

    def percentile(share: float) -> float:
        place = share * (len(draws) - 1)
        below = int(place)
        return draws[below] + (place - below) * (draws[below + 1] - draws[below])

    figure = ratio_of_sums(errors, words, seed=9)
    assert (figure.low, figure.high) == (pytest.approx(percentile(0.025), abs=1e-12), pytest.approx(percentile(0.975), abs=1e-12))
    assert figure.value == pytest.approx(errors.sum() / words.sum(), abs=1e-12)
