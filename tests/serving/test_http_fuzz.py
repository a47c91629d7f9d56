"""The short form of ``python -m tests.faults.fuzz_http``."""

from __future__ import annotations

from pathlib import Path

from tests.faults.fuzz_http import LIMITS, fuzz_http
from tests.serving.http_lab import serving


def test_no_request_that_the_schema_suggests_or_forbids_makes_the_server_fail(mini, tmp_path: Path):
    with serving(mini, limits=LIMITS, home=tmp_path) as lab:
        report = fuzz_http(lab, examples=50)
    assert report.faults == []
    assert report.requests >= 40 and {"200", "400"} <= set(report.statuses)
    assert report.ready_at_the_end
