"""kill -9 at random times: ``python -m tests.faults.kill --kills 100`` writes benchmarks/results/kill.json.

A training is killed and started again until it is done, then compared with the one that was never killed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.results import write_result
from tests.faults.tiny import STEPS, differences, prepare, start, trained_on

__all__ = ["KillReport", "kill_and_resume"]


@dataclass(kw_only=True)
class KillReport:
    """What came of it. ``in_training``: kills that hit after the first batch of their start, the rest before."""

    steps: int = STEPS
    seconds_straight: float = 0.0
    kills: int = 0
    kills_in_training: int = 0
    trainings: int = 0
    batches_run_again: int = 0
    partial_checkpoints_left_and_removed: int = 0
    differences: list[str] = field(default_factory=list)


def kill_and_resume(folder: Path, *, kills: int, seed: int = 0) -> KillReport:
    """Train once without a kill, then again and again with kills at random times until there were ``kills``.

    Times are uniform over the length of a training, its start and its export included; a start that was done
    before its kill makes the length smaller, so that a machine that gets faster does not outrun the kills.
    """
    words, report, rng = prepare(folder), KillReport(), random.Random(seed)
    _finish(words, folder / "warm-up")  # the server imports everything
    began = time.monotonic()
    _finish(words, folder / "straight")
    length = report.seconds_straight = round(time.monotonic() - began, 2)
    while report.kills < kills:
        run_dir = folder / f"killed-{report.trainings}"
        while report.kills < kills:
            if not _kill_at(rng.uniform(0, length), words, run_dir, report):
                length *= 0.8
                break
        else:
            _finish(words, run_dir)
        report.trainings += 1
        report.batches_run_again += trained_on(run_dir)[1]
        report.differences += [f"{run_dir.name}: {what}" for what in differences(folder / "straight", run_dir)]
        report.differences += [f"{run_dir.name}: left {path.name}" for path in run_dir.rglob(".*.ckpt.*.part")]
    return report


def _kill_at(seconds: float, words: tuple[str, ...], run_dir: Path, report: KillReport) -> bool:
    """Kill a start of the training after ``seconds``; return False where it was done before that."""
    log = run_dir / "keys.txt"
    before = log.stat().st_size if log.exists() else 0
    process = start(words, run_dir)
    process.join(seconds)
    if process.exitcode is not None:
        assert process.exitcode == 0, f"a start of {run_dir} failed: {process.exitcode}"
        return False
    process.kill()
    process.join()
    report.kills += 1
    report.kills_in_training += log.exists() and log.stat().st_size > before
    report.partial_checkpoints_left_and_removed += len(list(run_dir.rglob(".*.ckpt.*.part")))
    return True


def _finish(words: tuple[str, ...], run_dir: Path) -> None:
    process = start(words, run_dir)
    process.join()
    assert process.exitcode == 0, f"the training in {run_dir} failed: {process.exitcode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_and_resume(Path(folder), kills=options.kills, seed=options.seed)
    write_result("kill", asdict(report))
    raise SystemExit(bool(report.differences))


if __name__ == "__main__":
    main()
