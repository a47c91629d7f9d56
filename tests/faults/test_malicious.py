"""Nothing of a stranger's file is executed: every attack of tests.faults.malicious is refused with a message."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import yaml

import tests.faults.malicious_data
import tests.faults.malicious_models  # noqa: F401 (registers its attacks)
from calm.errors import CalmError
from tests.faults.malicious import ATTACKS, BOMB_BYTES, VARIABLE, Payload

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_executes_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET)
    (tmp_path / "folder").mkdir()
    before = _resident()
    attack, said = ATTACKS[name]
    with pytest.raises(CalmError, match=re.escape(said)) as caught:
        attack(tmp_path / "folder", tmp_path / "canary")
    assert not (tmp_path / "canary").exists()
    assert SECRET not in str(caught.value)
    if "bomb" in name:
        assert _resident() - before < 2.5 * BOMB_BYTES, "the bomb went off"


def test_the_payloads_run_where_they_are_trusted(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "pickled")))
    yaml.unsafe_load(f"!!python/object/apply:os.system ['touch {tmp_path / 'yaml'}']")
    assert (tmp_path / "pickled").exists() and (tmp_path / "yaml").exists()


def _resident() -> int:
    """Return the most memory that this process has had, in bytes."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


def test_there_are_attacks_of_every_kind():
    assert len(ATTACKS) >= 50
