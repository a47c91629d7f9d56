"""Load on the server: clients over HTTP that ask, listen and leave, against `calm serve` in a process of its own.

    python benchmarks/serving_http.py RESULT.json --clients 64 --seconds 180 --cancel 0.3

Every stream that is not left is compared with what the same server sent for it when it had nothing else to do. In the
end the server gets SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks.serving import mean, requests, spread
from calm.audio import write_bytes
from calm.evaluation.machine import machine_record

#: refused clients come back after so long at most
RETRY_SECONDS = 1.0
START_SECONDS = 120.0


@dataclass
class Heard:
    """What all clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    differences: list[int] = field(default_factory=list)
    completed: int = 0
    left: int = 0
    other_length: int = 0


class Server:
    """`calm serve` on a free port, until the block ends; then it has got SIGTERM, and ``exit_code`` is known."""

    def __init__(self, model: str, *, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        command = [sys.executable, "-m", "calm", "serve", "--model", model, "--device", "cpu", "--max-queued", "256"]
        environment = {**os.environ, "AUDIOCALM_HOME": str(home), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        port = self.url.rpartition(":")[2]
        self._log = (home / "serve.log").open("wb")
        self._process = subprocess.Popen([*command, "--port", port], env=environment, stderr=self._log, stdout=self._log)
        self.exit_code: int | None = None

    def __enter__(self) -> Server:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.2)
        self._process.kill()
        raise RuntimeError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self.exit_code = self._process.wait(timeout=60)
        self._log.close()

    def megabytes(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def body_of(request: dict) -> dict:
    rest = {name: value for name, value in request.items() if name != "text"}
    return {"input": request["text"], "response_format": "pcm", **rest}


async def client(url: str, number: int, expected: list[tuple[dict, bytes]], heard: Heard, *, cancel: float, until: float) -> None:
    chance = random.Random(number)
    async with httpx.AsyncClient(timeout=300) as http:
        while time.monotonic() < until:
            body, alone = chance.choice(expected)
            leave_after = chance.randint(0, 8) if chance.random() < cancel else None
            began, times, pieces = time.monotonic(), [], []
            async with http.stream("POST", f"{url}/v1/audio/speech", json=body) as response:
                heard.statuses[response.status_code] += 1
                if response.status_code != 200:
                    await response.aread()
                    await asyncio.sleep(RETRY_SECONDS * chance.random())
                    continue
                async for piece in response.aiter_raw():
                    pieces.append(piece)
                    times.append(time.monotonic())
                    if leave_after is not None and len(pieces) > leave_after:
                        break
                else:
                    leave_after = None
            note(heard, began, times, b"".join(pieces), None if leave_after is not None else alone)


def note(heard: Heard, began: float, times: list[float], data: bytes, alone: bytes | None) -> None:
    heard.first += [times[0] - began] if times else []
    heard.gaps += [later - one for one, later in itertools.pairwise(times)]
    if alone is None:
        heard.left += 1
        return
    heard.completed += 1
    if len(data) != len(alone):
        heard.other_length += 1
        return
    samples = [np.frombuffer(one, "<i2").astype(np.int32) for one in (data, alone)]
    heard.differences.append(int(np.abs(samples[0] - samples[1]).max(initial=0)))


async def load(server: Server, *, clients: int, seconds: float, cancel: float) -> dict:
    bodies = [body_of(request) for request in requests()]
    expected = [(body, httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=300).content) for body in bodies]
    heard, memory, began = Heard(), [], time.monotonic()
    crowd = [
        asyncio.create_task(client(server.url, number, expected, heard, cancel=cancel, until=began + seconds))
        for number in range(clients)
    ]
    while not all(task.done() for task in crowd):
        await asyncio.sleep(0.5)
        memory.append((time.monotonic() - began, server.megabytes()))
    await asyncio.gather(*crowd)
    took = time.monotonic() - began
    async with httpx.AsyncClient() as http:
        end = time.monotonic() + RETRY_SECONDS * 10
        while (state := (await http.get(f"{server.url}/health")).json())["running"] and time.monotonic() < end:
            await asyncio.sleep(0.1)
    warm = [size for at, size in memory if seconds / 3 <= at < seconds / 2]
    late = [size for at, size in memory if 5 / 6 * seconds <= at <= seconds]
    return {
        "clients": clients,
        "seconds": took,
        "statuses": dict(heard.statuses),
        "completed": heard.completed,
        "left": heard.left,
        "state_afterwards": state,
        "streams_of_another_length": heard.other_length,
        "largest_difference_in_16_bit_steps": max(heard.differences, default=None),
        "first_bytes_seconds": spread(heard.first),
        "gap_seconds": spread(heard.gaps),
        "memory_megabytes": {"after_warm_up": mean(warm), "at_the_end": mean(late)},
        "memory_growth": mean(late) / mean(warm) - 1 if warm and late else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--cancel", type=float, default=0.3, help="share of the requests that are left while they run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, Server(options.model, home=Path(home)) as server:
        found = asyncio.run(load(server, clients=options.clients, seconds=options.seconds, cancel=options.cancel))
    found["exit_code_after_sigterm"] = server.exit_code
    asked = {key: value for key, value in vars(options).items() if key != "result"}
    machine = machine_record() | {"load": os.getloadavg()[0]}
    text = json.dumps({"results": found, "options": asked, "machine": machine}, indent=2)
    write_bytes(options.result, (text + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
