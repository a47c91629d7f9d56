from __future__ import annotations

import os
from pathlib import Path

import pytest

from calm.audio import write_together
from calm.errors import InputError


def test_files_that_belong_together_take_their_names_in_order_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = []
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda source, target: (replaced.append(target.name), replace(source, target)))
    write_together({tmp_path / "b": b"1", tmp_path / "a": b"2"})
    assert replaced == ["b", "a"] and (tmp_path / "a").read_bytes() == b"2"
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_together({tmp_path / "a": b"3", tmp_path / "folder": b"4"})
    assert (tmp_path / "a").read_bytes() == b"2"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b", "folder"]
