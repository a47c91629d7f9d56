"""Holds for all tests: `transformers` and `encodec` import, whatever torchaudio's native library is linked to; and
signing keys and settings are those of the tests, never those of the person who runs them; and what numba compiles for
librosa is kept by every worker apart: two that write one cache at once can crash when they read it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from calm import _torchaudio

_torchaudio.install()
_numba = tempfile.TemporaryDirectory(prefix="calm-tests-numba-")
os.environ["NUMBA_CACHE_DIR"] = _numba.name


@pytest.fixture(autouse=True, scope="session")
def _a_home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("audiocalm_home")
        patch.setenv("AUDIOCALM_HOME", str(home))
        yield home
