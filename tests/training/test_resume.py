"""A run that is interrupted and resumed is the run that was not, to the last bit."""

import dataclasses
import os
import signal

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from calm.errors import CheckpointError, ConfigError
from calm.training.checkpoint_io import read_checkpoint
from calm.training.config import OptimConfig
from calm.training.fit import train
from calm.training.history import read_history
from calm.training.interruption import Interrupted
from calm.training.run_folder import differences
from tests.training.toy import FollowData, ToyData, toy_config, toy_root


class Signal(Callback):
    """Sends this process a real signal while a batch is being trained on."""

    def __init__(self, at_batch, number=signal.SIGTERM):
        self.at_batch, self.number = at_batch, number

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed == self.at_batch:
            os.kill(os.getpid(), self.number)


def run(folder, *callbacks, data=None, **options):
    return train(
        toy_root(), data or ToyData(), config=toy_config(folder, **options), progress=False, callbacks=[FollowData(), *callbacks]
    )


def leaves(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}/{index}")
    else:
        yield path, value


def history(run_dir):
    rows = read_history(run_dir / "history.csv")
    return sorted((step, name, value) for step, _, name, value in rows if not name.startswith("time/"))


def exported(result):
    return load_file(result.export / "model.safetensors")


def assert_same_state(first, second, *, keys=("state_dict", "optimizer_states", "callbacks", "ToyData")):
    for key in keys:
        ours, theirs = dict(leaves(first[key])), dict(leaves(second[key]))
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            same = torch.equal(value, theirs[path]) if isinstance(value, torch.Tensor) else value == theirs[path]
            assert same, f"{key}{path} differs"


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("stop_at", [2, 3, 5, 6])
def test_interrupted_and_resumed_equals_straight_to_the_bit(tmp_path, stop_at, accumulate):
    # The phase changes at step 4: before, at, and after the interruption. At step 5 a validation is due.
    options = {"grad_accum_steps": accumulate, "val_every_steps": 5}
    straight = run(tmp_path / "straight", **options)
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "broken", Signal(stop_at * accumulate - 1), **options)
    assert caught.value.step == stop_at
    data = ToyData()
    resumed = run(tmp_path / "broken", data=data, ckpt_path="last", **options)
    assert resumed.step == straight.step == 10
    assert data.served == list(range(stop_at * accumulate, 10 * accumulate))
    checkpoints = [read_checkpoint(result.run_dir / "checkpoints" / "last.ckpt") for result in (straight, resumed)]
    assert_same_state(*checkpoints)
    histories = [history(tmp_path / name) for name in ("straight", "broken")]
    assert histories[0] == histories[1]
    assert_same_state(*[{"state_dict": exported(result)} for result in (straight, resumed)], keys=("state_dict",))


def test_an_interruption_says_how_to_resume_and_leaves_the_handlers_as_they_were(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="ckpt_path=last") as caught:
        run(tmp_path, Signal(1, signal.SIGINT))
    assert caught.value.signal_number == signal.SIGINT
    assert caught.value.checkpoint.is_file()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert not (tmp_path / "export").exists()


def test_the_history_of_a_resumed_run_has_every_step_once(tmp_path):
    run(tmp_path / "straight")
    # The process dies after step 5 with a checkpoint of step 4: step 5 is in the history, and is run again.
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "broken", Crash(5), save_every_steps=4)
    assert max(row[0] for row in read_history(tmp_path / "broken" / "history.csv")) == 5
    run(tmp_path / "broken", ckpt_path="last", save_every_steps=4)
    rows = [history(tmp_path / name) for name in ("straight", "broken")]
    assert rows[0] == rows[1]
    assert sorted({row[0] for row in rows[1]}) == list(range(1, 11))


class Crash(Callback):
    def __init__(self, at_batch):
        self.at_batch = at_batch

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed == self.at_batch:
            raise ZeroDivisionError


def test_a_finished_run_resumed_trains_no_further_and_exports_again(tmp_path):
    first = run(tmp_path)
    weights = exported(first)
    (first.export / "model.safetensors").unlink()
    data = ToyData()
    again = run(tmp_path, data=data, ckpt_path="last")
    assert data.served == []
    assert again.step == 10
    assert_same_state({"state_dict": exported(again)}, {"state_dict": weights}, keys=("state_dict",))


def test_last_starts_afresh_where_there_is_nothing_to_continue(tmp_path):
    assert run(tmp_path, ckpt_path="last", max_steps=2).step == 2


def test_a_longer_run_continues_from_the_shorter_one(tmp_path):
    run(tmp_path / "short", max_steps=6)
    longer = run(tmp_path / "short", ckpt_path="last", max_steps=10)
    straight = run(tmp_path / "straight", max_steps=10)
    assert_same_state(*[{"state_dict": exported(result)} for result in (longer, straight)], keys=("state_dict",))


def test_a_trained_run_is_never_overwritten(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(ConfigError, match="ckpt_path=last"):
        run(tmp_path, max_steps=2)


def test_a_folder_of_another_configuration_is_refused_with_the_keys(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(ConfigError, match=r"trainer\.grad_accum_steps was 1, is 2"):
        run(tmp_path, ckpt_path="last", max_steps=2, grad_accum_steps=2)


def test_a_precision_found_by_itself_is_kept_by_what_it_meant(tmp_path, monkeypatch):
    supported = {"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}
    for name in supported:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: supported[name])
    run(tmp_path, max_steps=2, precision="auto")
    supported["_is_amx_tile_supported"] = True
    with pytest.raises(ConfigError, match=r"trainer\.precision was '32-true', is 'bf16-mixed'"):
        run(tmp_path, ckpt_path="last", max_steps=3, precision="auto")
    assert run(tmp_path, ckpt_path="last", max_steps=3, precision="32-true").step == 3


def test_a_run_from_before_clips_were_packed_goes_on_packed_or_not():
    old, new = ({"model": {"name": "ar_flow", **more}} for more in ({}, {"pack_rows": 512}))
    assert differences(old, new) == {}
    assert differences(old, {"model": {"name": "ar_flow", "num_noisy_copies": 4}})


def test_a_checkpoint_of_another_configuration_is_refused_with_the_keys(tmp_path):
    run(tmp_path / "a", max_steps=2)
    config = toy_config(tmp_path / "b", ckpt_path=str(tmp_path / "a" / "checkpoints" / "last.ckpt"))
    config = dataclasses.replace(config, optim=OptimConfig(learning_rate=0.5), seed=7)
    with pytest.raises(CheckpointError, match=r"optim\.learning_rate was 0\.01, is 0\.5") as caught:
        train(toy_root(), ToyData(), config=config, progress=False)
    assert "seed was 0, is 7" in str(caught.value)


def test_a_missing_checkpoint_is_named_with_those_that_exist(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        run(tmp_path, ckpt_path=str(tmp_path / "checkpoints" / "lost.ckpt"), max_steps=2)


def test_a_time_limit_ends_the_run_as_a_whole_one_with_export(tmp_path):
    result = run(tmp_path, max_steps=10**6, max_minutes=1e-4)
    assert 0 < result.step < 10**6
    assert (result.export / "model.safetensors").is_file()
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
