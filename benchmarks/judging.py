"""A thousand clips judged: memory, kills, and one process against two.

    python benchmarks/judging.py RESULT.json --corpus runs/mini_corpus [--items 1000] [--kills 3]

The clips are originals of a split of the corpus, judged by the default metrics against others of the split. One process is
killed (-9) at random times and started again until it is done; then two processes judge the same from the start. Memory is
the resident size of the one process, looked at ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.evaluation.choose import component
from calm.evaluation.machine import machine_record
from calm.evaluation.manifest import Manifest, write_manifest
from calm.evaluation.results import read_results

__all__ = ["differences"]

PAGE = os.sysconf("SC_PAGE_SIZE")
#: seconds between two kills: from the start of a process on, imports included
LEAST, MOST = 15.0, 90.0


def make_list(corpus: Path, split: str, count: int, out: Path) -> tuple[Path, Path]:
    """Manifests of ``count`` clips to judge and of as many others to compare with."""
    manifest: Manifest = component("benchmark", "corpus", {"folder": str(corpus), "split": split}).manifest(out / "prompts")
    half, others = manifest.items[0::2][:count], manifest.items[1::2][:count]
    judged = write_manifest(replace(manifest, items=half), out / "judged" / "manifest.jsonl")
    return judged, write_manifest(replace(manifest, items=others, name="others"), out / "others" / "manifest.jsonl")


def start(words: list[str], *, processes: int = 1) -> subprocess.Popen[bytes]:
    launcher = ["-m"] if processes == 1 else ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", "-m"]
    return subprocess.Popen([sys.executable, *launcher, "calm", "evaluate", *words], stdout=subprocess.DEVNULL)


def watch(process: subprocess.Popen[bytes], *, seconds: float | None) -> list[int]:
    """Resident bytes until the process ends, or until it is killed after ``seconds``."""
    sizes, began = [], time.monotonic()
    while process.poll() is None:
        if seconds is not None and time.monotonic() - began > seconds:
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        try:
            sizes.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE)
        except (OSError, IndexError):
            break
        time.sleep(0.1)
    process.wait()
    return sizes


def rows_of(out: Path) -> Counter[tuple[str, str]]:
    """How often each clip was measured by each metric."""
    found: Counter[tuple[str, str]] = Counter()
    for path in (out / "rows").rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found[path.parent.parent.name, json.loads(line)["key"]] += 1
            except ValueError:
                continue
    return found


def differences(first: Any, second: Any, *, where: str = "") -> list[float]:
    """Absolute differences of all numbers of two JSON values of the same form; others must be equal."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        return [d for key in first for d in differences(first[key], second[key], where=f"{where}.{key}")]
    if isinstance(first, list):
        return [d for a, b in zip(first, second, strict=True) for d in differences(a, b, where=where)]
    if isinstance(first, float):
        return [abs(first - second)]
    assert first == second, where
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        judged, others = make_list(options.corpus, options.split, options.items, folder)
        words = ["--manifest", str(judged), "--reference", str(others)]
        alone, pair = folder / "alone", folder / "pair"
        kills = 0
        for _ in range(options.kills):
            watch(process := start([*words, "-o", str(alone)]), seconds=rng.uniform(LEAST, MOST))
            kills += process.returncode == -signal.SIGKILL
        began = time.monotonic()
        sizes = watch(process := start([*words, "-o", str(alone)]), seconds=None)
        assert process.returncode == 0, "the evaluation failed"
        last = time.monotonic() - began
        began = time.monotonic()
        watch(process := start([*words, "-o", str(pair)], processes=2), seconds=None)
        assert process.returncode == 0, "the evaluation on two processes failed"
        one, two = read_results(alone / "results.json"), read_results(pair / "results.json")
        apart = differences(one["systems"], two["systems"])
        counts = rows_of(alone)
        results = {
            "items": sum(one["benchmark"]["items"].values()),
            "kills": kills,
            "rows": len(counts),
            "rows_measured_twice": sum(count > 1 for count in counts.values()),
            "figures": len(apart),
            "largest_difference_of_one_and_two_processes": max(apart),
            "seconds_after_the_last_kill": round(last, 1),
            "seconds_on_two_processes": round(time.monotonic() - began, 1),
            "resident_mb_after_a_tenth": round(max(sizes[: len(sizes) // 10]) / 1e6, 1),
            "resident_mb_largest": round(max(sizes) / 1e6, 1),
        }
    print(json.dumps(results, indent=2))
    write_bytes(options.result, (json.dumps({"results": results, "machine": machine_record()}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
