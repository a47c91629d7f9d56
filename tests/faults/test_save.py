"""There is always a checkpoint that can be read. Long form: python -m tests.faults.save."""

import pytest

from calm.training.checkpoint_io import AtomicCheckpointIO
from tests.faults.save import SaveReport, checkpoint, fill_disk, kill_saves, save_once


@pytest.mark.parametrize(("form", "times"), [("file", 10), ("folder", 5)])
def test_kills_and_full_disks_during_a_save_leave_a_whole_checkpoint(tmp_path, form, times):
    report = kill_saves(tmp_path, kills=times, form=form)
    fill_disk(tmp_path, report, times=times, form=form)
    assert report.wrong == []
    assert (report.kills, report.file_size_limits) == (times, times)
    assert report.kills_in_a_write > 0, "no kill hit a write: the test has proved nothing"


def test_a_checkpoint_of_two_pieces_would_be_seen(tmp_path):
    mixed = checkpoint(1)
    mixed["state_dict"]["3"] += 1
    AtomicCheckpointIO().save_checkpoint(mixed, tmp_path / "last.ckpt")
    report = SaveReport()
    fill_disk(tmp_path, report, times=1)
    assert "last.ckpt is a mixture" in report.wrong


def test_a_save_removes_what_a_kill_left_between_two_names_of_a_sharded_checkpoint(tmp_path):
    (tmp_path / ".last.ckpt.killed.link").symlink_to(".last.ckpt.gone")
    (tmp_path / ".last.ckpt.killed.part").mkdir()
    save_once("folder", tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", (tmp_path / "last.ckpt").resolve().name}
