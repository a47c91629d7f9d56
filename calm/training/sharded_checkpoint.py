"""Checkpoints of sharded runs: a folder to which every process adds its slices, whole or not there at all.

    last.ckpt -> .last.ckpt.TOKEN/    .metadata  __RANK_0.distcp ...  run.pt

A folder is complete when it has ``.metadata``, which is written last. Only then it takes its name, and only then
``last.ckpt``, a link, moves to it. The number of processes may change between saving and loading.
"""

from __future__ import annotations

import contextlib
import enum
import os
import pickle
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from calm.errors import CheckpointError
from calm.training.checkpoint_io import read_checkpoint, remove, sync_folder

__all__ = ["is_sharded", "read_sharded", "write_sharded"]

#: file of a folder with all that is no tensor
RUN = "run.pt"
#: written last; names every tensor and slice
METADATA = ".metadata"
#: what the pickle ``.metadata`` may name besides the records of ``torch.distributed.checkpoint.metadata``
_HARMLESS = {
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
}
_RECORDS = ("Chunk", "Metadata", "StorageMeta", "Tensor", "_MEM_FORMAT_ENCODING")


def is_sharded(path: Path) -> bool:
    """Return whether ``path`` is a complete checkpoint of a sharded run."""
    return (path / METADATA).is_file() and (path / RUN).is_file()


def write_sharded(path: Path, *, tensors: dict[str, Tensor], run: dict[str, Any], token: str, first: bool) -> None:
    """Write a checkpoint and let the link ``path`` point to it. A collective call.

    Args:
        tensors: by name, sharded or equal on all ranks. run: plain values, written by the first rank.
        token: a word that no earlier checkpoint had, the same on all ranks. first: whether this is the first rank.

    Raises CheckpointError on every rank where one of them cannot write; the former checkpoint is then untouched.
    """
    partial, final = (path.with_name(f".{path.name}.{token}{end}") for end in (".part", ""))
    try:
        _by_the_first(lambda: _begin(partial, run), first=first)
        dcp.save(tensors, checkpoint_id=partial)
        _by_the_first(lambda: _publish(partial, final, path), first=first)
    except (OSError, RuntimeError, dcp.CheckpointException) as error:
        if first:
            shutil.rmtree(partial, ignore_errors=True)
            if not (path.is_symlink() and path.readlink().name == final.name):
                shutil.rmtree(final, ignore_errors=True)
        raise CheckpointError(
            f"The checkpoint could not be written ({str(error).splitlines()[0]})",
            where=path,
            hint="the previous checkpoint is untouched: free some space, then resume with ckpt_path=last",
        ) from error


def _by_the_first(act: Callable[[], None], *, first: bool) -> None:
    """Let the first rank act; where it fails, every rank raises. A rank left out would wait for it, or go on alone."""
    told: list[str | None] = [None]
    if first:
        try:
            act()
        except (OSError, RuntimeError) as error:
            told = [str(error) or type(error).__name__]
    torch.distributed.broadcast_object_list(told, src=0)
    if told[0] is not None:
        raise OSError(told[0])


def _begin(partial: Path, run: dict[str, Any]) -> None:
    partial.mkdir(parents=True)
    torch.save(run, partial / RUN)


def _publish(partial: Path, final: Path, link: Path) -> None:
    partial.replace(final)
    _point(link, final)


def read_sharded(path: Path, *, templates: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]) -> dict[str, Any]:
    """Read a checkpoint into tensors of this run's sharding, and return what is no tensor. A collective call.

    Args:
        templates: gets every stored tensor as an empty one (device ``meta``), by name, and returns the tensors to
            fill, by the same names. It may raise CheckpointError.
    """
    if not is_sharded(path):
        raise CheckpointError(
            "This is no complete checkpoint of a sharded run",
            where=path,
            allowed=f"a folder with {METADATA} and {RUN}, as a run with trainer.strategy=fsdp writes it",
            hint="a checkpoint file continues with trainer.strategy=ddp or auto, a folder with fsdp",
        )
    reader = _Reader(path)
    empty = _empty(reader.read_metadata(), path)
    try:
        dcp.load(templates(empty), storage_reader=reader)
    except dcp.CheckpointException as error:
        raise CheckpointError(f"The checkpoint cannot be read ({str(error).splitlines()[0]})", where=path) from error
    return read_checkpoint(path / RUN)


def _empty(metadata: Metadata, path: Path) -> dict[str, Tensor]:
    """Return every stored tensor, by name, without its values."""
    try:
        stored = metadata.state_dict_metadata
        if not all(isinstance(entry, TensorStorageMetadata) for entry in stored.values()):
            raise CheckpointError("The checkpoint holds more than tensors", where=path)
        return {n: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta") for n, entry in stored.items()}
    except CheckpointError:
        raise
    except Exception as error:  # records of a damaged pickle may lack any of their fields
        raise CheckpointError(f"The checkpoint cannot be read ({error})", where=path / METADATA) from error


class _Reader(dcp.FileSystemReader):
    """Reads ``.metadata``, which torch pickles, without running what a stranger may have put there."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        path = Path(self.path) / METADATA
        try:
            with open(path, "rb") as file:
                return _RecordsOnly(file).load()
        except Exception as error:  # a damaged pickle raises errors of every kind
            raise CheckpointError(f"The checkpoint cannot be read ({error})", where=path) from error


class _RecordsOnly(pickle.Unpickler):
    """Finds the records of torch's checkpoints and nothing else: no function that could do harm has a name here."""

    def find_class(self, module: str, name: str) -> Any:
        record = module == "torch.distributed.checkpoint.metadata" and name.startswith(_RECORDS)
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) == ("builtins", "getattr"):
            return _member
        if not (record or dtype or (module, name) in _HARMLESS):
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _member(kind: Any, name: Any) -> enum.Enum:
    """What ``getattr`` may be asked for: Python up to 3.11.3 pickles the members of an enumeration by it."""
    if not (isinstance(kind, enum.EnumMeta) and name in kind.__members__):
        raise pickle.UnpicklingError(f"it asks for {name!r} of {kind!r}")
    return kind[name]


def _point(link: Path, target: Path) -> None:
    """Let ``link`` point to the folder ``target`` beside it, in one step; then remove what it pointed to before."""
    temporary = link.with_name(f".{link.name}.{uuid.uuid4().hex}.link")
    try:
        temporary.symlink_to(target.name)
        os.replace(temporary, link)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(link.parent)
    # Also what a killed process has left: folders, and links that were not yet renamed.
    for old in link.parent.glob(f".{link.name}.*"):
        if old != target:
            with contextlib.suppress(OSError):
                remove(old)
