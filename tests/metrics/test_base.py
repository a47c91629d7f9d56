"""What all metrics of finished audio share: rows, figures, and that it does not matter which process saw which clip."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from calm.errors import InputError
from calm.metrics import figures_of
from calm.metrics.length_error import LengthError
from tests.metrics.gloo_worker import SHARES, WER, MeanRow, figures, main
from tests.processes import free_port, run_all, start


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    out = tmp_path_factory.mktemp("gloo")
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    logs = [out / f"log-{rank}.txt" for rank in range(2)]
    workers = [start(main, out, folder=out, log=log, environ={**shared, "RANK": str(rank)}) for rank, log in enumerate(logs)]
    run_all(workers, logs, seconds=120)
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", SHARES)
def test_two_processes_have_the_figures_of_one(outcomes, name):
    alone = figures(SHARES[name], None)
    assert set(alone) == (set() if name == "nobody has any" else {"apart", "first", "wer", "wer_pooled", "rtf", "first_audio"})
    for found in outcomes:
        assert found[name].keys() == alone.keys()
        for key, figure in alone.items():
            assert found[name][key] == pytest.approx(figure, rel=0, abs=1e-12)


def test_figures_do_not_depend_on_the_order_of_the_clips():
    forward, backward = WER(), WER()
    rows = np.random.default_rng(0).integers(1, 9, size=(20, 2)).astype(float)
    for n in range(20):
        forward.update(n, rows[n])
        backward.update(19 - n, rows[19 - n])
    assert forward.compute() == backward.compute()


def test_rows_of_a_clip_stay_together():
    metric = MeanRow()
    metric.update(3, np.ones((2, 3)))
    metric.update(1, np.zeros(3))
    rows = metric._sorted(metric.rows)
    assert rows.indices.tolist() == [1, 3, 3]
    assert [len(clip) for clip in rows.by_clip()] == [1, 2]


@pytest.mark.parametrize("rows", [np.ones(2), np.ones((1, 1, 1)), np.array([np.nan]), np.array([np.inf])])
def test_rows_of_another_shape_or_not_finite_are_refused(rows):
    with pytest.raises(InputError, match="item 4"):
        LengthError().update(4, rows)


def test_nothing_is_computed_of_nothing_and_a_reset_forgets():
    metric = LengthError()
    assert metric.compute() == {}
    metric.update(0, np.array([0.5]))
    figure = figures_of(metric.compute())["length_error"]
    assert (figure.value, figure.low, figure.high, figure.count) == (0.5, 0.5, 0.5, 1)
    assert all(value.dtype == torch.float64 for value in metric.compute().values())
    metric.reset()
    assert metric.compute() == {}
