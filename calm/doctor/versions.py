"""Are the libraries those that the project asks for?"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

import calm
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level

__all__ = ["check_versions", "compare_versions", "requirements"]

DISTRIBUTION = "audiocalm"


def check_versions(case: Case) -> Iterator[Finding]:
    """Every library that the project depends on is there, in a version that it accepts."""
    yield from compare_versions(requirements())


def compare_versions(wanted: list[Requirement]) -> Iterator[Finding]:
    """One finding for each library that is missing or of another version; one in all where there is none."""
    wrong = 0
    for requirement in wanted:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        # The local part of a version (2.13.0+cpu) says how it was built, not what it can do.
        if found is not None and requirement.specifier.contains(found.partition("+")[0], prereleases=True):
            continue
        wrong += 1
        yield Finding(
            level=Level.ERROR if found is None else Level.WARNING,
            what=f"{requirement.name} {'is missing' if found is None else f'is {found}'}",
            where="pyproject.toml",
            value=str(requirement.specifier),
            hint=f'pip install -c constraints.txt "{requirement.name}{requirement.specifier}"',
        )
    if not wrong:
        value = f"{len(wanted)} libraries"
        yield Finding(level=Level.OK, what="The libraries are those that are asked for", where="pyproject.toml", value=value)


def requirements() -> list[Requirement]:
    """What the project depends on: by its pyproject.toml in a checkout, else by what was installed; no extras."""
    project = Path(calm.__file__).resolve().parents[1] / "pyproject.toml"
    if project.is_file():
        lines = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    wanted = [Requirement(line) for line in lines]
    return [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
