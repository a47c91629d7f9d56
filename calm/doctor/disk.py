"""Is there room for the checkpoints?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.doctor.parameters import count_parameters

__all__ = ["check_disk", "checkpoint_bytes", "nearest_folder"]

GIB = 2**30


def check_disk(case: Case) -> Iterator[Finding]:
    """Room for the kept checkpoints, ``last.ckpt``, the one being written beside them, and the export."""
    if case.root is None:
        return
    one, kept = checkpoint_bytes(case.root), case.config.trainer.num_kept_checkpoints
    # last.ckpt shares its bytes with the newest numbered one, unless the run ends between two of them.
    needed = one * (kept + 2) + state_bytes(case.root)
    folder = nearest_folder(case.config.run_dir)
    free = shutil.disk_usage(folder).free
    level = Level.ERROR if free < needed else Level.WARNING if free < 2 * needed else Level.OK
    yield Finding(
        level=level,
        what={
            Level.OK: "The disk holds the checkpoints",
            Level.WARNING: "The disk holds the checkpoints, but little more",
            Level.ERROR: "The disk is too small for the checkpoints",
        }[level],
        where=str(folder),
        value=f"{needed / GIB:.2f} GiB needed ({kept} kept + 2, {one / GIB:.2f} GiB each), {free / GIB:.1f} GiB free",
        hint="" if level is Level.OK else "free some, lower trainer.num_kept_checkpoints, or choose another run_dir",
    )


def checkpoint_bytes(root: nn.Module) -> int:
    """Bytes of one checkpoint: all tensors of the model, two moments of AdamW, the averaged weights in float32."""
    return state_bytes(root) + 4 * (2 * count_parameters(root).trained + count_parameters(root).averaged)


def state_bytes(root: nn.Module) -> int:
    """Bytes of the model's state."""
    return sum(tensor.numel() * tensor.element_size() for tensor in root.state_dict().values())


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
