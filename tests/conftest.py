"""Holds for all tests: `transformers` and `encodec` import, whatever torchaudio's native library is linked to; and
signing keys and settings are those of the tests, never those of the person who runs them; and what numba compiles for
librosa is kept in one folder for all workers of a run, so that it is compiled once and whatever ran before."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from calm import _torchaudio

_torchaudio.install()
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has the folder of the process that started it
    _numba = tempfile.TemporaryDirectory(prefix="calm-tests-numba-")
    os.environ["NUMBA_CACHE_DIR"] = _numba.name
    os.environ["NUMBA_OPT"] = "0"  # a third less time for what runs for milliseconds


@pytest.fixture(autouse=True, scope="session")
def _a_home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("audiocalm_home")
        patch.setenv("AUDIOCALM_HOME", str(home))
        yield home
