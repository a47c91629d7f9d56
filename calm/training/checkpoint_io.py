"""Checkpoint files that are either complete or absent, and are read as plain tensors only.

Lightning writes through a temporary folder that may lie on another file system, where its final move is
a copy: a kill or a full disk then destroys the last good checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from calm.errors import CheckpointError

__all__ = ["AtomicCheckpointIO", "publish", "read_checkpoint", "remove", "remove_partials", "sync_folder"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name, reaches the disk, then renames. Loads weights-only.

    Args:
        check: called with every checkpoint that is read and its path, before anything is restored from
            it; raises CheckpointError where it does not belong to the run.
    """

    def __init__(self, check: Callable[[dict[str, Any], Path], None] | None = None) -> None:
        super().__init__()
        self.check = check

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        except (OSError, RuntimeError) as error:
            # torch.save reports a full disk as a RuntimeError of its zip writer.
            raise CheckpointError(
                f"The checkpoint could not be written ({error})",
                where=path,
                hint="the previous checkpoint is untouched: free some space, then resume with ckpt_path=last",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        checkpoint = read_checkpoint(path)
        if self.check is not None:
            self.check(checkpoint, Path(path))
        return checkpoint


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a training checkpoint to the CPU, weights-only. Raises CheckpointError where that is impossible."""
    path = Path(path)
    if path.is_dir():
        what = "The checkpoint is a folder, of a run that was sharded"
        raise CheckpointError(what, where=path, hint="continue it with trainer.strategy=fsdp, on any number of devices")
    if not path.is_file():
        raise CheckpointError("No such checkpoint", where=path, hint="check the path, or leave ckpt_path out")
    try:
        _check_sizes(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # the unpickler of a damaged stream raises errors of every kind
        raise CheckpointError(
            f"The checkpoint cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=path,
            allowed="a training checkpoint written by `calm train`: plain tensors and numbers, no pickled code",
            hint="it may be damaged or cut short; resume from another one",
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError("The file is no training checkpoint", where=path, hint="training writes checkpoints/*.ckpt")
    return checkpoint


def _check_sizes(path: Path) -> None:
    """Raise CheckpointError where a zip claims more than it has: `torch.save` never compresses, so it is a bomb."""
    if not zipfile.is_zipfile(path):
        return  # torch.load says what is wrong with it
    with zipfile.ZipFile(path) as file:
        claimed = sum(item.file_size for item in file.infolist())
    if claimed > path.stat().st_size:
        raise CheckpointError(
            f"The checkpoint claims {claimed:,} bytes and has {path.stat().st_size:,}",
            where=path,
            allowed="a training checkpoint written by `calm train`, which is not compressed",
        )


def publish(path: Path, *, name: str) -> Path:
    """Give a complete checkpoint, a file or a folder, a second name beside it, in one step; by links where possible."""
    temporary = path.with_name(f".{name}.{uuid.uuid4().hex}.part")
    try:
        if path.is_dir():
            shutil.copytree(path, temporary, copy_function=_link_or_copy)
            remove(path.with_name(name))
        else:
            _link_or_copy(path, temporary)
        os.replace(temporary, path.with_name(name))
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)
    return path.with_name(name)


def remove(path: Path) -> None:
    """Remove a checkpoint, a file or a folder, where it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left of unfinished checkpoints. Nobody may be writing to the folder."""
    for path in folder.glob(".*.ckpt.*.part"):
        remove(path)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def sync_folder(folder: Path) -> None:
    """Let what was written into ``folder`` and renamed there reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
