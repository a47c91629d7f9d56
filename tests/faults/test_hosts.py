"""Two real hosts. Long form, with all seven kinds of fault: python -m tests.faults.hosts."""

from __future__ import annotations

import os

import pytest

from tests.faults.hosts import HostReport, Reference, survive
from tests.faults.namespaces import why_not
from tests.faults.tiny import state_differences


def test_a_killed_worker_on_one_of_two_hosts_changes_no_bit_of_the_outcome(tmp_path):
    if not os.environ.get("CALM_LONG_TESTS"):
        pytest.skip("minutes long: set CALM_LONG_TESTS=1")
    if reason := why_not():
        pytest.skip(reason)
    kinds = ["kill -9 of a worker"]
    reference = Reference.train(tmp_path, kinds=kinds)
    report = HostReport(heartbeat_timeout=60.0)
    survive(reference, tmp_path / "faulty", kinds, report)
    assert report.wrong == []
    assert report.num_faults == 1 and report.restarts >= 2, "no launcher noticed the fault"
    # The comparison can fail: the VAE of the run is another run.
    assert state_differences(reference.run_dir, tmp_path / "vae")
