"""Requests made from /openapi.json by schemathesis, right and wrong ones, against a real server:
``python -m tests.faults.fuzz_http --examples 1000`` writes benchmarks/results/fuzz_http.json.

No answer may be a 5xx, every status must be one that the schema names, every answer must have the content type and
the shape that the schema says, and the server must be ready at the end with nothing running. Requests are a pure
function of the schema and of Hypothesis' fixed seed.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from calm.generation import AudioCALM
from calm.serving.limits import Limits
from tests.faults.results import write_result
from tests.serving.http_lab import Lab, serving

__all__ = ["HttpReport", "fuzz_http"]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: of all requests, by path; the rest is shared by the others
SHARES = {"/v1/audio/speech": 0.6, "/v1/audio/voices": 0.2}
#: clips are short, so that a thousand requests take minutes
LIMITS = Limits(max_seconds=0.3, max_steps=4)


@dataclass(kw_only=True)
class HttpReport:
    """What came of the requests. ``faults``: method, path and the check that failed."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    ready_at_the_end: bool = False


def fuzz_http(lab: Lab, *, examples: int) -> HttpReport:
    """Send about ``examples`` requests, half of them made to be wrong."""
    report = HttpReport()
    schema = schemathesis.openapi.from_url(f"{lab.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    others = sum(operation.path not in SHARES for operation in operations)
    for operation in operations:
        same = sum(each.path == operation.path for each in operations)
        share = SHARES[operation.path] / same if operation.path in SHARES else (1 - sum(SHARES.values())) / others
        for mode in GenerationMode:
            _fuzz_operation(operation, mode, max(1, round(examples * share / 2)), lab, report)
    health = httpx.get(f"{lab.url}/health").json()
    report.ready_at_the_end = health == {"status": "ready", "model": "mini", "running": 0, "queued": 0}
    return report


def _fuzz_operation(operation: Any, mode: GenerationMode, examples: int, lab: Lab, report: HttpReport) -> None:
    name = f"{operation.method.upper()} {operation.path}"

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        started = time.monotonic()
        response = case.call(base_url=lab.url, timeout=120)
        report.requests += 1
        report.statuses[str(response.status_code)] += 1
        report.operations[name] += 1
        report.slowest_seconds = max(report.slowest_seconds, round(time.monotonic() - started, 2))
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as error:
            report.faults += [f"{name} {response.status_code}: {failure}" for failure in error.exceptions]

    # An operation without parameters cannot be asked wrongly.
    with contextlib.suppress(Unsatisfiable, InvalidSchema):
        send()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000)
    examples = parser.parse_args().examples
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        model = AudioCALM.from_pretrained("mini", device="cpu")
        with serving(model, limits=LIMITS, home=Path(home)) as lab:
            report = fuzz_http(lab, examples=examples)
    write_result("fuzz_http", {**vars(report), "minutes": round((time.monotonic() - started) / 60, 1)})


if __name__ == "__main__":
    main()
