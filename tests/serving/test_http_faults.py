"""What a server says when something is wrong with a request's head, or with itself."""

from __future__ import annotations

from types import SimpleNamespace

import httpx

from calm.serving.engine import Engine
from tests.serving.http_lab import Lab


def test_an_origin_that_is_no_address_is_refused_in_the_usual_shape(lab: Lab):
    answer = httpx.get(f"{lab.url}/v1/models", headers={"Origin": "http://["})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin")


def test_a_server_whose_engine_has_ended_is_not_healthy(lab: Lab, mini, monkeypatch):
    ended = Engine(mini).start()
    assert ended.alive
    ended.stop()
    assert not ended.alive
    monkeypatch.setattr(lab.service, "engine", SimpleNamespace(statistics=ended.statistics, alive=False, model=mini))
    answer = httpx.get(f"{lab.url}/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "broken")
