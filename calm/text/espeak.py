"""The eSpeak NG library that the package `espeakng-loader` bundles, loaded through ctypes for one of two uses.

eSpeak NG keeps its voice, and the phase of its flutter and noise, in static variables. One handle is
therefore kept open for phonemes, which depend on no such state, and it is closed before anybody asks for
a fresh library to render with.
"""

from __future__ import annotations

import _ctypes
import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calm.errors import DataError

__all__ = ["ESPEAK_RATE", "find_espeak", "fresh_espeak", "kept_espeak"]

#: Hz, the rate at which eSpeak NG renders
ESPEAK_RATE = 22_050

# speak_lib.h of eSpeak NG 1.52
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_REINSTALL = "Install it again with `pip install --force-reinstall espeakng-loader`"

# The library is not thread-safe, and only one of the two uses may hold it.
_lock = threading.RLock()
# The open handle by its voice: at most one, and it must be closed before a fresh one is loaded.
_kept: dict[str, ctypes.CDLL] = {}


def find_espeak() -> tuple[Path, Path]:
    """Return the paths of the library and of its data folder.

    Raises DataError where the package or its library is missing.
    """
    try:
        import espeakng_loader

        library, data = Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"eSpeak NG comes with the package espeakng-loader, which cannot be used: {error}",
            where="calm.text.espeak",
            hint="`pip install espeakng-loader`",
        ) from error
    if not library.is_file():
        raise DataError("The eSpeak NG library is missing", where=library, hint=_REINSTALL)
    return library, data


@contextmanager
def fresh_espeak(data: Path | None = None) -> Iterator[ctypes.CDLL]:
    """Load the library (a few ms), initialise it, and unload it again: nothing that was said before is left in it.

    ``data``: another data folder than the library's own.
    """
    with _lock:
        _release()
        library = _load(data)
        try:
            yield library
        finally:
            _close(library)


@contextmanager
def kept_espeak(voice: str) -> Iterator[ctypes.CDLL]:
    """Give the library with ``voice``; it stays loaded for the next call. For uses that leave no trace in it."""
    with _lock:
        if voice not in _kept:
            _release()
            library = _load()
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                _close(library)
                raise DataError(f"eSpeak NG has no voice '{voice}'", where=find_espeak()[1], hint=_REINSTALL)
            _kept[voice] = library
        yield _kept[voice]


def _release() -> None:
    while _kept:
        _close(_kept.popitem()[1])


def _load(other: Path | None = None) -> ctypes.CDLL:
    path, own = find_espeak()
    data = other or own
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise DataError(f"The eSpeak NG library cannot be loaded: {error}", where=path, hint=_REINSTALL) from error
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT)
    if rate != ESPEAK_RATE:
        _close(library)
        # eSpeak NG keeps this path in 160 bytes.
        raise DataError(
            f"eSpeak NG cannot read its voices (espeak_Initialize returned {rate})",
            where=data,
            allowed="a readable folder whose path is shorter than 160 characters",
            hint=_REINSTALL,
        )
    return library


def _close(library: ctypes.CDLL) -> None:
    library.espeak_Terminate()
    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)
