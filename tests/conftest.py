"""Holds for all tests: `transformers` and `encodec` import, whatever torchaudio's native library is linked to."""

from calm import _torchaudio

_torchaudio.install()
