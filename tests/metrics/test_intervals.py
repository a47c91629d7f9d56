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
