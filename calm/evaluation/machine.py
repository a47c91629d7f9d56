"""The machine that a demo or a benchmark ran on: in words, and as a record that stands beside figures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe_machine", "machine_record"]


def describe_machine() -> str:
    """Return processor, cores, memory and accelerator, as far as the system tells."""
    parts = [_processor(), f"{len(_own_cores())} cores"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def machine_record(packages: Iterable[str] = ("torch",)) -> dict[str, Any]:
    """Return what figures depend on, as JSON values: machine, date, Python, threads, versions (None where missing)."""
    return {
        "machine": describe_machine(),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": {package: _version(package) for package in packages},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _own_cores() -> range | set[int]:
    """The cores that this process may use; a container often has fewer than the machine."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
