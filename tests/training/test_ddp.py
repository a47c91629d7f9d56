"""Two gloo processes, one of which never sees speech, across the phase that turns the expert on."""

import json

import pytest
import torch

from calm.training.fit import train
from tests.processes import free_port, run_all, start
from tests.training.ddp_worker import STEPS, batch_of, main
from tests.training.toy import ToyBatch, ToyData, toy_config, toy_root


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    logs = [out / f"log-{rank}.txt" for rank in range(2)]
    workers = [
        start(main, out, folder=out, log=log, environ={**shared, "LOCAL_RANK": str(rank)}) for rank, log in enumerate(logs)
    ]
    run_all(workers, logs, seconds=120)
    return lambda name: [json.loads((out / f"{name}-{rank}.json").read_text()) for rank in range(2)]


def test_ranks_agree_though_one_of_them_never_calls_the_expert_with_rows(outcomes):
    first, second = outcomes("plain")
    assert first["rows"] == [0] * 4 + [2] * 4
    assert second["rows"] == [0] * 8
    assert first["weights"] == second["weights"]


def test_two_ranks_train_like_one_process_on_the_joined_batch(outcomes, tmp_path):
    def joined(step):
        parts = [batch_of(step, rank) for rank in range(2)]
        x, task = torch.cat([p.x for p in parts]), torch.cat([p.task for p in parts])
        return ToyBatch(x=x, task=task, keys=(), step=step)

    root = toy_root(noise=0.0)
    train(root, ToyData(joined), config=toy_config(tmp_path, max_steps=STEPS), progress=False)
    alone = torch.cat([p.detach().flatten() for p in root.parameters()])
    torch.testing.assert_close(torch.tensor(outcomes("plain")[0]["weights"]), alone, rtol=0, atol=1e-5)


def test_a_nan_on_one_rank_skips_the_step_on_both(outcomes):
    first, second = outcomes("poisoned")
    assert first["weights"] == second["weights"]
    assert all(weight == weight for weight in first["weights"])
    assert first["step"] == STEPS


def test_a_signal_to_one_rank_stops_both_at_the_same_step_and_the_run_resumes_to_the_bit(outcomes):
    assert [outcome["interrupted_at"] for outcome in outcomes("interrupted")] == [3, 3]
    resumed, straight = outcomes("broken"), outcomes("straight")
    assert [outcome["step"] for outcome in resumed] == [STEPS, STEPS]
    assert resumed[0]["weights"] == resumed[1]["weights"] == straight[0]["weights"]
