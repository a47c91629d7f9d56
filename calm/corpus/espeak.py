"""Speech from eSpeak NG in this process."""

from __future__ import annotations

import ctypes

import numpy as np

from calm.corpus.made_voices import data_with_made_voices
from calm.errors import DataError
from calm.text.espeak import ESPEAK_RATE, find_espeak, fresh_espeak

__all__ = ["ESPEAK_RATE", "Espeak"]

# speak_lib.h of eSpeak NG 1.52
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
# Half of the default: several variants clip inside eSpeak at 100.
_HALF_VOLUME = 50

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """Renders text to samples. The same arguments give the same samples, whatever was rendered before.

    eSpeak NG keeps the phase of its flutter and noise in static variables that no call resets, so the
    library is loaded for every utterance and unloaded after it (a few ms), see `calm.text.espeak`.

    Raises DataError where the package, its library or its voices are missing.
    """

    def __init__(self) -> None:
        find_espeak()  # says what is missing
        self._data_path = data_with_made_voices()
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
        with fresh_espeak(self._data_path) as library:
            library.espeak_SetSynthCallback(self._callback)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            if library.espeak_SetVoiceByName(f"{accent}+{variant}".encode()) != 0:
                raise DataError(f"eSpeak NG refused the voice '{accent}+{variant}'", where=self._data_path)
            library.espeak_SetParameter(_VOLUME, _HALF_VOLUME, 0)
            library.espeak_SetParameter(_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            library.espeak_SetParameter(_RANGE, pitch_range, 0)
            data = text.encode()
            library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        samples = np.frombuffer(b"".join(self._chunks), np.int16)
        self._chunks.clear()
        if not samples.any():
            raise DataError(f"eSpeak NG rendered silence for '{text}'", where=f"{accent}+{variant}")
        return samples.astype(np.float32) / 32768

    def _receive(self, wave, count: int, _events) -> int:
        if wave and count > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * count))
        return 0
