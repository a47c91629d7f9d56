"""Clients that leave, do not read, or are too many; and a server that is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import openai
import pytest

from calm.serving import routes_speech
from calm.serving.limits import Limits
from calm.serving.live import ABORT, LiveResponse
from tests.processes import calm, start
from tests.serving.http_lab import Lab, serving

LONG = {"input": "rain", "task": "sound", "duration": 60.0, "steps": 1, "response_format": "wav"}
#: where a server says that it is, in a line that is written whole
URL = re.compile(r"http://\S+\d(?=.*\n)")


def until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for what another thread brings about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def lab(mini, tmp_path_factory) -> Iterator[Lab]:
    limits = Limits(max_running=1, max_queued=1)
    with serving(mini, limits=limits, write_seconds=1.0, home=tmp_path_factory.mktemp("home")) as running:
        yield running


@contextmanager
def asking(lab: Lab, **body: object) -> Iterator[socket.socket]:
    """A connection over which a long clip was asked for."""
    content = json.dumps({**LONG, **body})
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", lab.port), timeout=30) as connection:
        connection.sendall(head.encode() + content.encode())
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection, or cuts it."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def running(lab: Lab) -> tuple[int, int]:
    statistics = lab.service.engine.statistics()
    return statistics.running, statistics.queued


def test_a_client_that_leaves_ends_its_request(lab: Lab):
    cancelled = lab.service.engine.statistics().cancelled
    with asking(lab) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert running(lab) == (1, 0)
    until(lambda: running(lab) == (0, 0))
    assert lab.service.engine.statistics().cancelled == cancelled + 1
    until(lambda: lab.service.traffic.active == 0)


def test_a_client_that_leaves_the_queue_gives_its_place_back_and_a_full_queue_says_when_to_return(lab: Lab):
    with asking(lab) as first:
        first.recv(1)
        with asking(lab):
            until(lambda: running(lab) == (1, 1))
            with pytest.raises(openai.RateLimitError) as busy:
                lab.openai().audio.speech.create(model="mini", voice="alloy", input="Hello.")
            assert busy.value.code == "busy"
            assert int(busy.value.response.headers["retry-after"]) >= 1
        until(lambda: running(lab) == (1, 0))
    until(lambda: running(lab) == (0, 0))


def test_a_client_that_waits_for_a_whole_file_and_leaves_ends_its_request(lab: Lab):
    with asking(lab, stream_format="file"):
        until(lambda: running(lab) == (1, 0))
    until(lambda: running(lab) == (0, 0))


def test_a_client_that_stops_reading_is_cut_off_and_its_request_ends():
    happened = []

    async def audio():
        yield b"a piece"

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()  # the buffers are full, and nobody empties them

    response = LiveResponse(
        audio(), close=lambda: happened.append("closed"), write_seconds=0.05, media_type="audio/wav", headers={}
    )
    scope = {"type": "http", ABORT: lambda: happened.append("cut")}
    asyncio.run(asyncio.wait_for(response(scope, receive, send), 10))
    assert happened == ["cut", "closed"]


def test_the_figures_say_what_happened(lab: Lab):
    before = httpx.get(f"{lab.url}/metrics").text
    assert lab.post().status_code == 200
    assert lab.post(steps=0).status_code == 400
    after = httpx.get(f"{lab.url}/metrics").text

    def grown(name: str) -> float:
        found = [re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE) for text in (before, after)]
        return float(found[1][1]) - (float(found[0][1]) if found[0] else 0.0)

    assert grown('calm_requests_total{reason="duration",task="sound"}') == 1
    assert grown('calm_first_audio_seconds_count{task="sound"}') == 1
    assert grown('calm_real_time_factor_count{task="sound"}') == 1
    assert grown('calm_audio_seconds_total{task="sound"}') == pytest.approx(0.3)
    assert grown('calm_refused_total{status="400"}') == 1
    assert "calm_running 0.0" in after and "calm_queued 0.0" in after


def test_a_draining_server_says_so_refuses_what_is_new_and_cuts_what_is_late(mini, tmp_path: Path):
    with serving(mini, drain_seconds=0.5, home=tmp_path) as lab, asking(lab) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        with httpx.Client(base_url=lab.url) as client:
            assert client.get("/health").json()["status"] == "ready"
            lab.server.close()
            until(lambda: lab.service.traffic.draining)
            health = client.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "draining")
            assert client.post("/v1/audio/speech", json=LONG).json()["error"]["code"] == "shutting_down"
        received = rest_of(connection)
        assert not received.endswith(b"0\r\n\r\n"), "half a clip must not look whole"
        lab.thread.join(20)
        assert not lab.thread.is_alive()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[BaseProcess, Path]]:
    log = tmp_path / "log.txt"
    child = start(calm, "serve", "--port", "0", "--drain-seconds", "60", folder=tmp_path, log=log)
    try:
        until(lambda: log.exists() and URL.search(log.read_text()) is not None, seconds=60)
        yield child, log
    finally:
        child.kill()


def test_after_sigterm_a_running_request_is_finished_and_the_exit_code_is_0(process):
    child, log = process
    url = URL.search(log.read_text())[0]
    with httpx.stream("POST", f"{url}/v1/audio/speech", json={**LONG, "duration": 2.0}, timeout=60) as response:
        data = response.iter_bytes()
        first = next(data)
        os.kill(child.pid, signal.SIGTERM)
        whole = first + b"".join(data)
    assert len(whole) > 2 * 2.0 * 16_000
    child.join(30)
    assert child.exitcode == 0
    assert "Stopped." in log.read_text()


def test_many_clients_are_answered_with_what_each_asked_for(mini, tmp_path: Path):
    with serving(mini, home=tmp_path) as lab:
        alone = {seed: lab.post(seed=seed).content[-4000:] for seed in range(3)}
        together: dict[int, bytes] = {}

        def ask(seed: int) -> None:
            together[seed] = lab.post(seed=seed).content[-4000:]

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in alone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {seed: len(data) for seed, data in together.items()} == {seed: len(data) for seed, data in alone.items()}


def test_a_request_that_fails_before_its_first_bytes_ends_its_job(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no sending")

    before = lab.service.engine.statistics().cancelled
    monkeypatch.setattr(routes_speech, "open_sending", broken)
    assert lab.post(duration=60.0).status_code == 500
    until(lambda: lab.service.engine.statistics().cancelled == before + 1, seconds=10)
