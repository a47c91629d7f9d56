"""A small laboratory: clips of three systems with telling levels and rates, a running server, a listener's client."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm import audio
from calm.audio import Provenance
from calm.evaluation.manifest import Manifest, ManifestItem
from calm.listening import ListeningTest, Settings, prepare, serve
from calm.listening.server import Server
from calm.metrics import Item
from calm.types import Task, Waveform

#: system -> sample rate, channels, gain
SYSTEMS = {"zebra": (16_000, 1, 0.02), "walrus": (24_000, 2, 0.9)}
TEXTS = {Task.SPEECH: "Seven words that nobody is shown here.", Task.SOUND: "Rain on a tin roof", Task.MUSIC: "A waltz"}
ORIGIN = Provenance(generator="AudioCALM", model="zebra-large", task="sound", seed=7, created="2030-01-01T00:00:00Z")


def tone(seed: int, *, sample_rate: int, channels: int = 1, gain: float = 0.3, seconds: float = 0.5) -> Waveform:
    """Noise under a slow swell, another for each seed."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((channels, round(seconds * sample_rate))).astype(np.float32)
    swell = np.abs(np.sin(np.linspace(0.2, 9, samples.shape[1], dtype=np.float32)))
    samples *= gain * swell / np.abs(samples).max()
    return Waveform(audio=torch.from_numpy(samples), sample_rate=sample_rate)


def make_clips(folder: Path, *, tasks: Mapping[Task, int], seconds: float = 0.5) -> Manifest:
    """Write originals and the clips of ``SYSTEMS`` to ``folder/NAME`` and return their manifest."""
    items = []
    for task, number in tasks.items():
        for n in range(number):
            key = f"secret-{task}-{n}"
            target = folder / "targets" / f"{key}.flac"
            audio.write(target, tone(n, sample_rate=22_050, seconds=seconds), provenance=None)
            for name, (rate, channels, gain) in SYSTEMS.items():
                clip = tone(100 + n, sample_rate=rate, channels=channels, gain=gain, seconds=seconds)
                audio.write(folder / name / f"{key}.wav", clip, provenance=ORIGIN)
            items.append(ManifestItem(item=Item(id=key, task=task, text=TEXTS[task]), target=target))
    return Manifest(name="lab", items=tuple(items))


def make_test(folder: Path, *, tasks: Mapping[Task, int], seconds: float = 0.5, **settings: Any) -> ListeningTest:
    """Prepare a test of ``SYSTEMS`` and the originals."""
    manifest = make_clips(folder, tasks=tasks, seconds=seconds)
    systems = {**{name: folder / name for name in SYSTEMS}, "originals": None}
    return prepare(manifest, systems=systems, folder=folder / "test", settings=Settings(**settings))


@contextmanager
def running(test: ListeningTest, **settings: Any) -> Iterator[str]:
    """A server in a thread; gives ``HOST:PORT``."""
    with Server(test, port=0, **settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()


def serve_folder(folder: Path, address: Any) -> None:
    """Serve in a process of its own; sends ``HOST:PORT`` through the pipe ``address``."""
    serve(ListeningTest.read(folder), port=0, on_ready=lambda url: address.send(url.split("/")[2]))


class Reply:
    """Status, headers and body of one answer; ``everything`` is all of it as text."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def everything(self) -> str:
        return f"{dict(self.headers)} {self.body.decode('latin-1')}"


def request(
    address: str, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request. A body that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=body, headers=given)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


class Listener:
    """A browser without a browser: begins a session, rates, goes on. ``replies`` are all that it was sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.replies: list[Reply] = []
        self.session = self._ask("POST", "/api/session", {}).json["session"]

    def current(self) -> dict[str, Any]:
        return self._ask("GET", "/api/next", headers={"X-Session": self.session}).json

    def hear(self, trial: str) -> Reply:
        return self._ask("GET", f"/audio/{trial}")

    def rate(self, trial: str, question: str, score: Any) -> Reply:
        body = {"session": self.session, "trial": trial, "question": question, "score": score}
        return self._ask("POST", "/api/rating", body)

    def move_on(self, trial: str) -> Reply:
        return self._ask("POST", "/api/next", {"session": self.session, "trial": trial})

    def finish(self, opinion: Any, *, trials: int | None = None) -> dict[str, Any]:
        """Rate clip after clip by ``opinion(current, question) -> score``; returns where the session is then."""
        current = self.current()
        while not current["done"] and trials != 0:
            for question in current["questions"]:
                assert self.rate(current["trial"], question["key"], opinion(current, question["key"])).status == 200
            current = self.move_on(current["trial"]).json
            trials = None if trials is None else trials - 1
        return current

    def _ask(self, *words: Any, **options: Any) -> Reply:
        self.replies.append(request(self.address, *words, **options))
        return self.replies[-1]
