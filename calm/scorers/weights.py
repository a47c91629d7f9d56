"""The files of one scorer: looked for when they are needed, and hashed once for result files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from calm.scorers.hub import find_weights, hash_of

__all__ = ["Weights"]


class Weights:
    """Files of a repository of the hub, or of a local folder; see `calm.scorers.hub.find_weights` for the arguments.

    Nothing is read before ``folder``, ``path`` or ``record`` is asked for; these raise ConfigError where files lack.
    """

    def __init__(
        self, repo: str, *, files: Sequence[str], folder: str | Path | None = None, revision: str | None = None
    ) -> None:
        self.repo, self.files, self.revision = repo, tuple(files), revision
        self._given = folder

    @cached_property
    def folder(self) -> Path:
        return find_weights(self.repo, files=self.files, folder=self._given, revision=self.revision)

    def path(self, name: str) -> Path:
        """The file of an entry of ``files``: the first of its alternatives that is there."""
        return next(path for each in name.split("|") if (path := self.folder / each).is_file())

    @cached_property
    def record(self) -> dict[str, Any]:
        """Repository, commit and SHA-256 of every file, as JSON values. The commit of a given folder is not known."""
        paths = [self.path(name) for name in self.files]
        # The cache of the hub keeps each commit in snapshots/COMMIT.
        commit = self.folder.name if self.folder.parent.name == "snapshots" else None
        return {"repo": self.repo, "revision": commit, "sha256": {path.name: hash_of(path) for path in paths}}
