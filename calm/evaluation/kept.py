"""The list that was judged stays beside its results, so that a page can be made of them and nobody judges another list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from calm.errors import InputError
from calm.evaluation.manifest import Manifest, read_manifest, write_manifest
from calm.evaluation.processes import barrier, place

__all__ = ["keep_list"]


def keep_list(make: Callable[[], Manifest], out: Path) -> Manifest:
    """Let the first process make the list and write ``out/manifest.jsonl``; every process returns what is there.

    Raises InputError where the folder has the results of another list.
    """
    path, rejected = out / "manifest.jsonl", ()
    if place()[0] == 0:
        manifest = make()
        rejected = manifest.rejected
        if path.is_file() and read_manifest(path).sha256 != manifest.sha256:
            raise InputError("The folder has the results of another list", where=out, hint="choose another -o, or delete it")
        write_manifest(manifest, path)
    barrier()
    return replace(read_manifest(path), rejected=rejected)
