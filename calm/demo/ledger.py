"""``demo.json``: which stages are done, what they found, and how long they took. Written in one step after each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import DataError, InputError

__all__ = ["Ledger"]


class Ledger:
    """The state of a demo on disk.

    Args:
        path: the file. settings: what the demo was asked for; a folder holds one demo of one kind.
    Raises InputError where the file belongs to other settings, DataError where it cannot be read.
    """

    def __init__(self, path: Path, *, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.stages: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.stages = self._read()

    def done(self, name: str) -> bool:
        return self.stages.get(name, {}).get("done", False)

    def seconds(self, name: str) -> float:
        """Time spent on a stage, all attempts together."""
        return self.stages.get(name, {}).get("seconds", 0.0)

    def run(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return what ``work`` found, plain JSON values; a stage that is done is not run again."""
        if self.done(name):
            return self.stages[name]["found"]
        started, found = time.perf_counter(), None
        try:
            found = work()
        finally:
            # An interrupted attempt counts, so that the page tells the time that was really spent.
            spent = self.seconds(name) + time.perf_counter() - started
            # Through JSON at once, so that a fresh start and a resumed one see the same values.
            plain = json.loads(json.dumps(dict(found or {})))
            self.stages[name] = {"done": found is not None, "seconds": round(spent, 2), "found": plain}
            self._write()
        return self.stages[name]["found"]

    def _write(self) -> None:
        text = json.dumps({"settings": self.settings, "stages": self.stages}, indent=1)
        write_bytes(self.path, (text + "\n").encode("utf-8"))

    def _read(self) -> dict[str, dict[str, Any]]:
        hint = "delete the folder, or give another one"
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            settings, stages = values["settings"], values["stages"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"The demo's state cannot be read ({error})", where=self.path, hint=hint) from error
        changed = [key for key in {*settings, *self.settings} if settings.get(key) != self.settings.get(key)]
        if changed:
            raise InputError(
                f"The folder holds a demo of other settings: {', '.join(sorted(changed))}", where=self.path, hint=hint
            )
        return stages
