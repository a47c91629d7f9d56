"""Packages that a plain installation lacks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from calm.errors import ConfigError
from calm.scorers import optional
from calm.scorers.optional import find_file, need


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(ConfigError, match="no_such_scorer") as error:
        need("no_such_scorer")
    assert "pip install" in str(error.value) and "[eval]" in str(error.value)


def test_a_missing_file_of_a_package_is_an_error_too():
    with pytest.raises(ConfigError, match="einops"):
        find_file("einops", "no_such_file.pt")


def test_a_shipped_file_is_found_without_an_import():
    assert find_file("einops", "__init__.py").is_file()


def test_who_imports_librosa_waits_for_another_who_does():
    pytest.importorskip("librosa", reason='needs `pip install "audiocalm[eval]"`')
    with ThreadPoolExecutor() as pool:
        with optional._alone():
            waiting = pool.submit(need, "librosa")
            assert pool.submit(need, "json").result(30)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        assert waiting.result(30).__name__ == "librosa"
