import errno
import os

import pytest
import torch

from calm.errors import CheckpointError
from calm.training.checkpoint_io import AtomicCheckpointIO, publish, read_checkpoint

GOOD = {"state_dict": {"weight": torch.arange(4.0)}, "step": 3}


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    return path


def refuse(error):
    def failing(*args, **kwargs):
        raise error

    return failing


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failure_at_any_step_of_saving_leaves_the_old_checkpoint_whole(good, monkeypatch, name):
    monkeypatch.setattr(os, name, refuse(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(CheckpointError, match="No space left") as caught:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(4)}}, good)
    assert "free some space" in str(caught.value)
    monkeypatch.undo()
    assert torch.equal(read_checkpoint(good)["state_dict"]["weight"], torch.arange(4.0))
    assert [path.name for path in good.parent.iterdir()] == ["last.ckpt"]


def test_an_interruption_while_saving_leaves_the_old_checkpoint_whole(good, monkeypatch):
    def half(checkpoint, file):
        file.write(b"half a checkpoint")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint(GOOD, good)
    monkeypatch.undo()
    assert torch.equal(read_checkpoint(good)["state_dict"]["weight"], torch.arange(4.0))
    assert [path.name for path in good.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("kept", [0, 1, 50, 200])
def test_a_checkpoint_cut_short_is_one_clear_error(good, kept):
    good.write_bytes(good.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        read_checkpoint(good)
    assert str(good) in str(caught.value)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "payload": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "executed").exists()


def test_a_file_that_is_no_training_checkpoint_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        read_checkpoint(tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="No such checkpoint"):
        read_checkpoint(tmp_path / "absent.ckpt")


def test_the_check_sees_every_checkpoint_before_it_is_used(good):
    def check(checkpoint, path):
        raise CheckpointError("not ours", where=path)

    with pytest.raises(CheckpointError, match="not ours"):
        AtomicCheckpointIO(check).load_checkpoint(good)


def test_a_second_name_stays_when_the_first_is_written_anew(good, monkeypatch):
    publish(good, name="step-3.ckpt")
    monkeypatch.setattr(os, "link", refuse(OSError(errno.EPERM, "no links here")))
    publish(good, name="copy.ckpt")
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(4)}}, good)
    for name in ("step-3.ckpt", "copy.ckpt"):
        assert torch.equal(read_checkpoint(good.with_name(name))["state_dict"]["weight"], torch.arange(4.0))
    assert sorted(path.name for path in good.parent.iterdir()) == ["copy.ckpt", "last.ckpt", "step-3.ckpt"]
