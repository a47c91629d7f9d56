"""Mutated files bring out errors of calm.errors alone. Long form: python -m tests.faults.fuzz."""

from __future__ import annotations

import pytest

from tests.faults.fuzz import DEADLINE_SECONDS, fuzz
from tests.faults.readers import TARGETS


def test_forty_mutants_of_every_format_bring_out_our_own_errors_alone(tmp_path):
    reports = fuzz(tmp_path / "work", inputs=40, failures=tmp_path / "failures")
    assert [fault for report in reports.values() for fault in report.faults] == []
    assert {name: report.inputs for name, report in reports.items()} == dict.fromkeys(TARGETS, 40)
    silent = {"status", "heartbeat"}  # these readers take what cannot be read for what is not there
    assert all(report.refused > 0 for name, report in reports.items() if name not in silent), "mutants that do nothing"


@pytest.mark.parametrize(
    ("target", "said"),
    [("raises", "KeyError: 'mine'"), ("dies", "exit code 7"), ("hangs", "no answer within"), ("grows", "MiB of resident")],
)
def test_a_stranger_s_error_a_death_a_hang_and_a_growth_would_be_seen(tmp_path, target, said):
    deadline = 3.0 if target == "hangs" else DEADLINE_SECONDS
    reports = fuzz(
        tmp_path / "work", inputs=1, targets=[target], failures=tmp_path / "failures", deadline_seconds=deadline
    )
    assert [said in fault.what for fault in reports[target].faults] == [True]
    assert (tmp_path / "failures" / f"{target}-0-0.txt").exists()
