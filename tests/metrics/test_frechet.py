"""Frechet distance."""

from __future__ import annotations

import numpy as np
import pytest

from calm.errors import InputError
from calm.metrics.frechet import Gaussian, frechet_distance


def sample(seed: int, *, count: int = 200, size: int = 12, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + shift


def test_it_equals_the_definition_with_a_general_matrix_square_root():
    linalg = pytest.importorskip("scipy.linalg")
    a, b = Gaussian.of(sample(0)), Gaussian.of(sample(1, shift=0.7))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    wanted = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)


def test_it_is_zero_for_equal_sets_and_symmetric():
    a, b = Gaussian.of(sample(0)), Gaussian.of(sample(1))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * np.trace(a.covariance))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_of_shifted_sets_it_is_the_squared_shift():
    rows = sample(2)
    distance = frechet_distance(Gaussian.of(rows), Gaussian.of(rows + 0.5))
    assert distance == pytest.approx(12 * 0.25, rel=1e-6)


def test_fewer_embeddings_than_dimensions_are_no_failure():
    few = sample(3, count=5)
    assert np.isfinite(frechet_distance(Gaussian.of(few), Gaussian.of(sample(4))))


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError):
        Gaussian.of(np.zeros((1, 4)))
    with pytest.raises(InputError):
        frechet_distance(Gaussian.of(sample(0)), Gaussian.of(sample(0, size=3)))
