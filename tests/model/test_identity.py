from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from calm.errors import CheckpointError
from calm.model.identity import identify


def test_a_model_is_known_by_the_hashes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.yaml").write_bytes(b"name: a")
    identity = identify(tmp_path)
    assert identity.model_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert identity.config_sha256 == hashlib.sha256(b"name: a").hexdigest()


def test_the_folder_of_a_run_stands_for_its_export(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read \(No such file"):
        identify(tmp_path)
