"""eSpeak NG in this process: the library that the package `espeakng-loader` bundles, through ctypes."""

from __future__ import annotations

import _ctypes
import ctypes
import sys
from pathlib import Path

import numpy as np

from calm.errors import DataError

__all__ = ["ESPEAK_RATE", "Espeak"]

#: Hz, the rate at which eSpeak NG renders
ESPEAK_RATE = 22_050

# speak_lib.h of eSpeak NG 1.52
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
# Half of the default: several variants clip inside eSpeak at 100.
_HALF_VOLUME = 50

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """Renders text to samples. The same arguments give the same samples, whatever was rendered before.

    eSpeak NG keeps the phase of its flutter and noise in static variables that no call resets, so the
    library is unloaded and loaded again (about 1 ms) for every utterance. This needs that nothing
    else in the process holds the library open.

    Raises DataError where the package, its library or its voices are missing.
    """

    def __init__(self) -> None:
        self._library_path, self._data_path = _find()
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._receive)

    def has_voice(self, accent: str, variant: str) -> bool:
        """Return whether the data folder holds this accent (``lang/gmw``) and this variant."""
        return (self._data_path / "lang" / "gmw" / accent).is_file() and (
            self._data_path / "voices" / "!v" / variant
        ).is_file()

    def render(
        self, text: str, *, accent: str, variant: str, words_per_minute: int, pitch: int, pitch_range: int
    ) -> np.ndarray:
        """Return float32 samples [S] in -1..1 at ``ESPEAK_RATE``.

        Args:
            text: plain English text.
            accent: file name of an English voice, for example ``en-US``.
            variant: file name of a variant, for example ``f2``. eSpeak ignores unknown variants
                silently, so both names are checked here.
            words_per_minute: 80..450.
            pitch: base pitch 0..99; 50 is the voice's own.
            pitch_range: intonation 0..99; 0 is monotone, 50 normal.
        """
        if not self.has_voice(accent, variant):
            raise DataError(f"eSpeak NG has no voice '{accent}+{variant}'", where=self._data_path)
        library = self._open()
        try:
            if library.espeak_SetVoiceByName(f"{accent}+{variant}".encode()) != 0:
                raise DataError(f"eSpeak NG refused the voice '{accent}+{variant}'", where=self._data_path)
            library.espeak_SetParameter(_VOLUME, _HALF_VOLUME, 0)
            library.espeak_SetParameter(_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            library.espeak_SetParameter(_RANGE, pitch_range, 0)
            data = text.encode()
            library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        finally:
            _close(library)
        samples = np.frombuffer(b"".join(self._chunks), np.int16)
        self._chunks.clear()
        if not samples.any():
            raise DataError(f"eSpeak NG rendered silence for '{text}'", where=f"{accent}+{variant}")
        return samples.astype(np.float32) / 32768

    def _receive(self, wave, count: int, _events) -> int:
        if wave and count > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * count))
        return 0

    def _open(self) -> ctypes.CDLL:
        try:
            library = ctypes.CDLL(str(self._library_path))
        except OSError as error:
            raise DataError(
                f"The eSpeak NG library cannot be loaded: {error}", where=self._library_path, hint=_REINSTALL
            ) from error
        rate = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(self._data_path).encode(), _INITIALIZE_DONT_EXIT
        )
        if rate != ESPEAK_RATE:
            _close(library)
            # eSpeak NG keeps this path in 160 bytes.
            raise DataError(
                f"eSpeak NG cannot read its voices (espeak_Initialize returned {rate})",
                where=self._data_path,
                allowed="a readable folder whose path is shorter than 160 characters",
                hint=_REINSTALL,
            )
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        return library


_REINSTALL = "Install it again with `pip install --force-reinstall espeakng-loader`"


def _find() -> tuple[Path, Path]:
    try:
        import espeakng_loader

        library, data = Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"Speech needs the package espeakng-loader: {error}",
            where="calm.corpus.espeak",
            hint="`pip install espeakng-loader`",
        ) from error
    if not library.is_file():
        raise DataError("The eSpeak NG library is missing", where=library, hint=_REINSTALL)
    return library, data


def _close(library: ctypes.CDLL) -> None:
    library.espeak_Terminate()
    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)
