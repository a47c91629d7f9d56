"""Prompts of `calm generate`: one from the command line, or many from a file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.errors import InputError, did_you_mean
from calm.types import Task

__all__ = ["Prompt", "numbered", "read_batch_file"]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt with the options that may differ from line to line; None leaves the model's default."""

    text: str
    task: Task
    duration: float | None = None
    voice: str | None = None
    negative_prompt: str | None = None

    def options(self) -> dict[str, Any]:
        """The options that are set, without the text."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if name != "text" and value is not None}


def read_batch_file(path: Path, *, task: str | None, **common: Any) -> list[Prompt]:
    """Read one prompt a line; in a ``.jsonl`` file a line is an object with ``text`` and options of its own.

    ``task`` and ``common`` hold where a line says nothing. Raises InputError with file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The batch file cannot be read: {error}", where=path) from None
    numbered_lines = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered_lines:
        raise InputError("The batch file has no prompts", where=path, allowed="one prompt a line, or .jsonl")
    prompts = []
    for number, line in numbered_lines:
        where = f"{path}, line {number}"
        own = _parse_object(line, where=where) if path.suffix == ".jsonl" else {"text": line}
        values = {"task": task, **common, **own}
        if values["task"] is None:
            raise InputError("The prompt has no task", where=where, allowed=list(Task), hint="Add --task")
        prompts.append(Prompt(**{**values, "task": Task.parse(values["task"], where=where)}))
    return prompts


def numbered(output: Path, count: int) -> list[Path]:
    """Return ``count`` paths: ``clips.wav`` -> clips-0000.wav ..., a folder ``clips`` -> clips/0000.wav ..."""
    if output.suffix:
        return [output.with_name(f"{output.stem}-{index:04d}{output.suffix}") for index in range(count)]
    return [output / f"{index:04d}.wav" for index in range(count)]


def _parse_object(line: str, *, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise InputError(f"The line is no JSON ({error})", where=where) from None
    types = {"text": str, "task": str, "duration": (int, float), "voice": str, "negative_prompt": str}
    if not isinstance(values, dict) or not isinstance(values.get("text"), str):
        raise InputError("The line needs an object with `text`", where=where, allowed=types)
    for key, value in values.items():
        if key not in types:
            guess = did_you_mean(key, types) or ""
            raise InputError(f"Unknown key '{key}'. {guess}".strip(), where=where, allowed=types)
        if value is not None and (not isinstance(value, types[key]) or isinstance(value, bool)):
            raise InputError(f"'{key}' cannot be {value!r}", where=where)
    return {key: value for key, value in values.items() if value is not None}
