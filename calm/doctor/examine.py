"""All checks, one after the other. A check that meets an error of the project has found something."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from calm.config import RunConfig
from calm.doctor.case import Case
from calm.doctor.cost import check_cost
from calm.doctor.disk import check_disk
from calm.doctor.finding import Finding, Level, Report
from calm.doctor.folder import check_folder
from calm.doctor.formats import check_formats
from calm.doctor.hardware import Hardware
from calm.doctor.inputs import check_inputs
from calm.doctor.latents import check_latents
from calm.doctor.machine import check_clock, check_torch
from calm.doctor.memory import check_memory
from calm.doctor.shares import check_shares
from calm.doctor.size import Size, size_of
from calm.doctor.vae import check_vae
from calm.doctor.versions import check_versions
from calm.errors import CalmError

__all__ = ["CHECKS", "examine"]

#: name -> check, in the order of the report; a check of one's own is one more entry
CHECKS: dict[str, Callable[[Case], Iterable[Finding]]] = {
    "versions": check_versions,
    "torch": check_torch,
    "clock": check_clock,
    "inputs": check_inputs,
    "run folder": check_folder,
    "shares": check_shares,
    "formats": check_formats,
    "vae": check_vae,
    "latents": check_latents,
    "memory": check_memory,
    "cost": check_cost,
    "disk": check_disk,
}


def examine(config: RunConfig, *, hardware: Hardware | None = None) -> Report:
    """Look at a run before it starts; reads only, writes nothing.

    Args:
        hardware: what memory and days are told for; eight H100 where it is not given.

    What is missing or wrong in the run is a finding. Errors that are none of the project's kinds are defects of a
    check, and raised.
    """
    case = Case(config, hardware=hardware)
    findings = [
        dataclasses.replace(finding, check=name) for name, check in CHECKS.items() for finding in _caught(check, case)
    ]
    return Report(name=config.name, findings=tuple(findings), size=_sized(case))


def _sized(case: Case) -> Size | None:
    try:
        return size_of(case)
    except CalmError:  # a check has said so already
        return None


def _caught(check: Callable[[Case], Iterable[Finding]], case: Case) -> Iterator[Finding]:
    try:
        yield from check(case)
    except CalmError as error:
        yield Finding.of_error(error)
    except OSError as error:
        yield Finding(level=Level.ERROR, what=f"The system refuses: {error.strerror}", where=str(error.filename or ""))
