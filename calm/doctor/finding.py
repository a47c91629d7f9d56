"""What a check says: one finding, and the report that they make together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from calm.errors import CalmError

if TYPE_CHECKING:
    from calm.doctor.size import Size

__all__ = ["Finding", "Level", "Report"]


class Level(StrEnum):
    """How bad it is: ``error`` will stop or spoil the run, ``warning`` may, ``ok`` is for information."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: how bad it is. what: the finding, as a sentence.
        where: file, key or part that it is about.
        value: what was measured, with its unit and the bar that it is held to.
        hint: what to do; empty where nothing is to be done.
        check: the check that found it.
    """

    level: Level
    what: str
    where: str = ""
    value: str = ""
    hint: str = ""
    check: str = ""

    @classmethod
    def of_error(cls, error: CalmError, *, where: str = "") -> Finding:
        """What the run would die of, as a finding; ``where`` stands in where the error does not say it."""
        where = where if error.where is None else str(error.where)
        hint = error.hint or (f"allowed: {error.allowed}" if error.allowed else "")
        return cls(level=Level.ERROR, what=error.what, where=where, hint=hint)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings of one examination, in the order of the checks; ``size`` is None where no model can be built."""

    name: str
    findings: tuple[Finding, ...]
    size: Size | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found that stops or spoils the run."""
        return not self.of(Level.ERROR)

    def of(self, level: Level | str) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        findings = [dataclasses.asdict(finding) | {"level": str(finding.level)} for finding in self.findings]
        size = None if self.size is None else self.size.to_dict()
        return {"run": self.name, "ok": self.ok, "findings": findings, "size": size}
