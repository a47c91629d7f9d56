"""Requests that are refused: one clear status each, in one shape, and before they cost anything."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from calm.serving.limits import Limits
from tests.serving.http_lab import Lab, serving

CONSENT = {"who": "a", "purpose": "tests", "granted": "2020-01-01", "expires": "2999-01-01", "audio_sha256": "0" * 64}


def wav(seconds: float, *, rate: int = 8000, format: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * rate), dtype="int16"), rate, format=format)
    return buffer.getvalue()


def claims_ten_hours() -> bytes:
    """A second of WAV whose header, and nothing else, has ten hours."""
    data = bytearray(wav(1.0))
    place = data.index(b"data") + 4
    data[place : place + 4] = (36_000 * 16_000).to_bytes(4, "little")
    return bytes(data)


def error_of(response: httpx.Response) -> dict:
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": "a" * 3000}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"inputs": "x"}, "inputs"),
        ({"duration": -1}, "duration"),
        ({"duration": 1e6}, "duration"),
        ({"duration": 0.001}, "duration"),
        ({"steps": 65}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"task": "noise"}, "task"),
        ({"response_format": "aac"}, "response_format"),
        ({"voice": "a low male voice"}, "voice"),
        ({"instructions": "slowly"}, "instructions"),
        ({"task": "speech", "consent": CONSENT}, "consent"),
        ({"task": "speech", "ref_text": "words"}, "ref_text"),
        ({"task": "speech", "voice": "x" * 400 + " x"}, "voice"),
        ({"negative_prompt": "wind", "cfg_scale": 1}, "negative_prompt"),
    ],
)
def test_a_wrong_field_is_named(body: dict, param: str, lab: Lab):
    fields = {"input": "rain", "task": "sound", "duration": 0.3, "steps": 1, **body}
    fields = {name: value for name, value in fields.items() if value is not None}
    response = httpx.post(f"{lab.url}/v1/audio/speech", content=json.dumps(fields), headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert error_of(response)["param"] == param


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (b"", "0 bytes"),
        (b"dear server, this is no audio at all", "not audio"),
        (wav(61.0), "61 s"),
        (wav(4 * 3600.0, format="FLAC"), "14,400 s"),
        (claims_ten_hours(), "cut short"),
        (wav(1.0)[:60], "cut short"),
        (b"fLaC" + bytes(100), "cannot be decoded"),
    ],
    ids=["nothing", "a text", "too long", "a bomb", "ten hours claimed", "cut", "damaged"],
)
def test_a_clip_that_is_no_short_recording_is_refused_before_it_is_decoded(clip: bytes, says: str, lab: Lab):
    sent = base64.b64encode(clip).decode()
    assert len(sent) < 3_000_000
    before = time.process_time()
    response = lab.post(task="speech", ref_audio=sent, consent=CONSENT)
    # Server and client share this process: decoding hours would take far longer.
    assert time.process_time() - before < 2.0
    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == "ref_audio" and says in error["message"]


def test_a_clip_that_is_no_base64_is_refused(lab: Lab):
    for clip in ("?", "data:audio/wav;base64,?", "data:audio/wav,AAAA", "é"):
        response = lab.post(task="speech", ref_audio=clip, consent=CONSENT)
        assert (response.status_code, error_of(response)["param"]) == (400, "ref_audio")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nothing", b"[" * 5000, b'{"input": NaN}', b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(body: bytes, lab: Lab):
    response = httpx.post(f"{lab.url}/v1/audio/speech", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    error_of(response)


def test_a_misspelt_field_names_its_neighbours(lab: Lab):
    error = error_of(lab.post(duraton=3))
    assert (error["param"], error["code"]) == ("duraton", "unknown_field")
    assert "Did you mean 'duration'?" in error["message"] and "ref_audio" in error["message"]


def test_broken_json_says_where_it_breaks(lab: Lab):
    response = httpx.post(f"{lab.url}/v1/audio/speech", content=b"{bad", headers={"Content-Type": "application/json"})
    error = error_of(response)
    assert error["param"] is None and "no JSON" in error["message"] and "at character 1" in error["message"]


def test_unknown_paths_and_methods_have_the_same_shape(lab: Lab):
    assert error_of(httpx.get(f"{lab.url}/v1/nothing"))["type"] == "not_found_error"
    assert httpx.get(f"{lab.url}/v1/audio/speech").status_code == 405
    assert error_of(httpx.get(f"{lab.url}/v1/audio/records/../../etc"))["message"]
    assert httpx.get(f"{lab.url}/docs").status_code == httpx.get(f"{lab.url}/redoc").status_code == 404


def raw(lab: Lab, head: str, body: bytes = b"", *, timeout: float = 20.0) -> bytes:
    """Send bytes, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", lab.port), timeout=timeout) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


HEAD = "POST /v1/audio/speech HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"


@pytest.fixture(scope="module")
def strict(mini, tmp_path_factory):
    with serving(
        mini, max_body_bytes=10_000, header_seconds=0.5, body_seconds=0.5, home=tmp_path_factory.mktemp("home")
    ) as running:
        yield running


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(strict: Lab):
    answer = raw(strict, f"{HEAD}Content-Length: 999999999999\n\n")
    assert answer.startswith(b"HTTP/1.1 413 ") and b"request_too_large" in answer


def test_a_body_that_does_not_say_so_is_counted(strict: Lab):
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    answer = raw(strict, f"{HEAD}Transfer-Encoding: chunked\n\n", chunk * 3)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"request_too_large" in answer


def test_a_body_that_does_not_come_is_given_up(strict: Lab):
    answer = raw(strict, f"{HEAD}Content-Length: 100\n\n", b'{"input"')
    assert answer.startswith(b"HTTP/1.1 408 ") and b"timeout" in answer


@pytest.mark.parametrize("head", ["", "POST /v1/audio/speech HTTP/1.1\nHost: local", "GET /health HTTP/1.1\nHost: localhost\n\nGET /he"])
def test_a_head_that_does_not_come_is_cut_off(head: str, strict: Lab):
    answer = raw(strict, head)
    assert answer.count(b"HTTP/1.1 200") == head.count("\n\n")


def test_pages_of_other_origins_and_other_names_are_refused(lab: Lab):
    foreign = {"Origin": "https://elsewhere.example"}
    assert error_of(httpx.get(f"{lab.url}/v1/models", headers=foreign))["code"] == "origin"
    assert httpx.get(f"{lab.url}/v1/models", headers={"Origin": lab.url}).status_code == 200
    assert error_of(httpx.get(f"{lab.url}/v1/models", headers={"Host": "elsewhere.example"}))["code"] == "host"


def test_a_page_of_an_allowed_origin_is_told_so_and_no_other(mini, tmp_path: Path):
    origin = "https://friend.example"
    with serving(mini, cors_origins=(origin,), home=tmp_path) as lab:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert httpx.options(f"{lab.url}/v1/audio/speech", headers=asked).headers["access-control-allow-origin"] == origin
        assert httpx.get(f"{lab.url}/v1/models", headers={"Origin": "https://elsewhere.example"}).status_code == 403


def test_a_key_is_needed_where_keys_are_set(mini, tmp_path: Path):
    with serving(mini, api_keys=("one", "zwei"), home=tmp_path) as lab:
        for key, status in (("one", 200), ("zwei", 200), ("three", 401), ("", 401)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert httpx.get(f"{lab.url}/v1/models", headers=headers).status_code == status
        refused = httpx.get(f"{lab.url}/metrics")
        assert (refused.status_code, error_of(refused)["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{lab.url}/health").status_code == 200
        assert lab.openai(api_key="one").models.list().data[0].id == "mini"


def test_a_key_has_so_many_requests_at_once_and_another_key_does_not_suffer(mini, tmp_path: Path):
    limits, body = Limits(max_per_client=1), {"input": "rain", "task": "sound", "duration": 30.0, "response_format": "pcm"}
    with serving(mini, limits=limits, api_keys=("one", "zwei"), home=tmp_path) as lab, httpx.Client(timeout=60) as http:

        def ask(key: str, **more: object):
            headers = {"Authorization": f"Bearer {key}"}
            return http.stream("POST", f"{lab.url}/v1/audio/speech", headers=headers, json={**body, **more})

        with ask("one") as first, ask("one") as second, ask("zwei", duration=0.5) as other:
            assert (first.status_code, second.status_code, other.status_code) == (200, 429, 200)
            assert int(second.headers["retry-after"]) >= 1
