"""Makes `encodec` and `transformers` importable where torchaudio's native library does not load.

`encodec` requires torchaudio, whose wheel is linked to one CUDA version. Beside a CPU build of torch, or
another CUDA version, the library cannot be loaded, `import torchaudio` raises, and every import of `encodec`
and of a `transformers` model fails with it. Nothing here needs that library: torchaudio's transforms are
plain torch. ``install`` puts a finder before Python's own that touches one module,
``torchaudio._extension``: it is imported as usual, and only if that fails is it marked as "extension not
available", a state that torchaudio itself knows.

Call ``install`` before the first import of `encodec` or `transformers`. Drop this file when torchaudio
falls back by itself.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["install"]

MODULE = "torchaudio._extension"


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs the module; where its native load fails, leaves the names that say "not available"."""

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except (OSError, ImportError, RuntimeError, AttributeError) as error:
            module._IS_TORCHAUDIO_EXT_AVAILABLE = False
            module._IS_ALIGN_AVAILABLE = False
            module.fail_if_no_align = _unavailable(error)


class _Finder:
    """Meta-path finder for ``MODULE`` alone."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None):
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Install the finder once; does nothing where torchaudio is already imported."""
    if MODULE not in sys.modules and _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _unavailable(error: Exception):
    """Return a decorator that replaces a function of the native library by one that says why it is missing."""

    def decorate(function):
        def fail(*_, **__):
            raise RuntimeError(f"{function.__name__} needs torchaudio's native library, which did not load: {error}")

        return fail

    return decorate
