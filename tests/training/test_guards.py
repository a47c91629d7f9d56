import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from calm.errors import CalmError
from calm.training.fit import train
from calm.training.history import read_history
from tests.training.toy import ToyData, toy_batch, toy_config, toy_root


def poisoned(*steps):
    def make(step):
        batch = toy_batch(step)
        return dataclasses.replace(batch, x=batch.x * float("nan")) if step in steps else batch

    return make


def test_a_step_without_finite_gradients_changes_nothing(tmp_path):
    # Steps 0..2, then 3 is poisoned: the weights after 4 steps are those after 3.
    three = train(toy_root(), ToyData(), config=toy_config(tmp_path / "3", max_steps=3), progress=False)
    four = train(toy_root(), ToyData(poisoned(3)), config=toy_config(tmp_path / "4", max_steps=4), progress=False)
    states = [
        torch.load(result.run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for result in (three, four)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    rows = {(step, name): value for step, _, name, value in read_history(four.run_dir / "history.csv")}
    assert rows[4, "train/skipped_steps"] == 1
    assert (4, "train/loss") not in rows, "NaN does not belong in the history"


def test_training_goes_on_after_single_bad_steps(tmp_path):
    data = ToyData(poisoned(*range(0, 30, 2)))
    result = train(toy_root(), data, config=toy_config(tmp_path, max_steps=30), progress=False)
    assert all(tensor.isfinite().all() for tensor in load_file(result.export / "model.safetensors").values())


def test_ten_bad_steps_in_a_row_end_the_run_and_name_the_samples(tmp_path):
    data = ToyData(poisoned(*range(2, 50)))
    with pytest.raises(CalmError, match="10 steps in a row") as caught:
        train(toy_root(), data, config=toy_config(tmp_path, max_steps=50), progress=False)
    assert "clip-11-0" in str(caught.value)
    assert "clip-10-0" not in str(caught.value), "keys of an earlier step"
