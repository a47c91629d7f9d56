"""Scorers that a plain installation lacks: each is imported where it is needed, or asked for in one sentence."""

from __future__ import annotations

import getpass
import importlib
import importlib.util
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType

from calm.errors import ConfigError

__all__ = ["EXTRA_HINT", "find_file", "need"]

EXTRA_HINT = '`pip install "audiocalm[eval]"`, or `pip install {package}`'


def need(module: str, *, package: str | None = None) -> ModuleType:
    """Import a module of the extra ``[eval]``. Raises ConfigError with the pip command where it is missing."""
    name = module.partition(".")[0]
    try:
        with _alone() if name == "librosa" else nullcontext():
            return importlib.import_module(module)
    except ImportError as error:
        raise _missing(package or name, str(error)) from error


def find_file(module: str, name: str, *, package: str | None = None) -> Path:
    """Return a file that a package ships, without importing the package.

    Raises ConfigError with the pip command where the package or the file is missing.
    """
    spec = importlib.util.find_spec(module)
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        if (path := Path(folder) / name).is_file():
            return path
    raise _missing(package or module, f"no {name} in {module}")


def _alone() -> AbstractContextManager[object]:
    """Wait until no other process of this user imports librosa.

    Its first import compiles for half a minute into numba's cache, and two processes that write one cache at once
    leave a file at which every later import crashes.
    """
    from filelock import FileLock

    return FileLock(Path(tempfile.gettempdir()) / f"audiocalm-{getpass.getuser()}-librosa.lock")


def _missing(package: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The evaluation needs the package {package} ({reason})", hint=EXTRA_HINT.format(package=package)
    )
