"""The test over HTTP, as a stranger meets it: a fixed table of paths, limits, ranges, headers."""

from __future__ import annotations

import contextlib
import json
import socket
import struct

import pytest

from calm.errors import InputError
from calm.listening.handler import MAX_BODY_BYTES
from calm.listening.server import MAX_CONNECTIONS, Server
from tests.listening.lab import request, running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/listen.html", 404),
        ("GET", "/test.json", 404),
        ("GET", "/ratings.db", 404),
        ("GET", "/audio/", 404),
        ("GET", "/audio/" + "0" * 32, 404),
        ("GET", "/audio/../test.json", 404),
        ("GET", "/audio/..%2f..%2ftest.json", 404),
        ("GET", "/audio/%2e%2e/test.json", 404),
        ("GET", "//audio//volume", 404),
        ("GET", "/audio/volume.wav", 404),
        ("POST", "/nothing", 404),
        ("POST", "/", 405),
        ("POST", "/audio/volume", 405),
        ("PUT", "/api/rating", 405),
        ("DELETE", "/api/session", 405),
        ("OPTIONS", "/api/next", 405),
        ("GET", "/api/rating", 405),
        ("GET", "/api/session", 405),
        ("BREW", "/", 501),
        ("HEAD", "/", 200),
        ("GET", "/audio/volume", 200),
        ("GET", "/?q=1", 200),
    ],
)
def test_only_what_is_in_the_table_is_answered(address, method, path, status):
    reply = request(address, method, path, b"" if method in ("POST", "PUT") else None)
    assert reply.status == status
    assert method != "HEAD" or reply.body == b""
    if status == 405:
        assert reply.headers["Allow"]


def test_no_path_reaches_a_file_even_when_sent_raw(address):
    host, port = address.split(":")
    for path in (b"/audio/../../test.json", b"/audio/\x00", b"../../../../../etc/passwd", b"file:///etc/passwd"):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b"".join(iter(lambda raw=raw: raw.recv(65_536), b""))
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")) and b"fingerprint" not in answer


def test_a_body_over_the_limit_is_refused_before_it_is_read(address):
    fits, large = (b"{" + b" " * (size - 2) + b"}" for size in (MAX_BODY_BYTES, MAX_BODY_BYTES + 1))
    headers = {"Content-Type": "application/json"}
    assert request(address, "POST", "/api/session", fits, headers=headers).status == 200
    assert request(address, "POST", "/api/session", large, headers=headers).status == 413
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")  # though not a byte of it was sent


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {}, 415),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 200),
        (b"{", {"Content-Type": "application/json"}, 400),
        (b"[]", {"Content-Type": "application/json"}, 400),
        (b"[" * 4000, {"Content-Type": "application/json"}, 400),
        (b"\xff", {"Content-Type": "application/json"}, 400),
        (b"{}", {"Content-Type": "application/json", "Origin": "http://elsewhere.example"}, 403),
        (b"{}", {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_a_session_begins_by_json_from_the_page_itself(address, body, headers, status):
    assert request(address, "POST", "/api/session", body, headers=headers).status == status


@pytest.mark.parametrize("key", ["session", "trial", "question"])
@pytest.mark.parametrize("value", [None, 5, {}, "\ud800", "x" * 500])
def test_a_strange_field_is_an_error_of_the_request(listener, key, value):
    body = {"session": listener.session, "trial": "x", "question": "mos", "score": 3, key: value}
    assert request(
        listener.address, "POST", "/api/rating", json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    ).status in (400, 404)


def test_every_answer_forbids_foreign_content_and_tells_nothing_of_the_server(address):
    for path in ("/", "/listen.js", "/audio/volume", "/api/next", "/nothing"):
        headers = request(address, "GET", path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"] and "unsafe" not in str(headers)
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "calm" and "Python" not in str(headers)


def test_the_page_is_all_its_own(address):
    page = request(address, "GET", "/").body.decode()
    everything = (
        page
        + request(address, "GET", "/listen.css").body.decode()
        + request(address, "GET", "/listen.js").body.decode()
    )
    assert "http:" not in everything and "https:" not in everything and "{{" not in page
    assert "You hear 8 short clips" in page


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-1", (0, 2)),
        ("bytes=0-", (0, None)),
        ("bytes=100-199", (100, 200)),
        ("bytes=-50", (-50, None)),
        ("bytes=10-99999999", (10, None)),
    ],
)
def test_a_range_of_a_clip_is_exactly_these_bytes(address, asked, span):
    whole = request(address, "GET", "/audio/volume")
    assert whole.status == 200 and whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Type"] == "audio/wav"
    part = request(address, "GET", "/audio/volume", headers={"Range": asked})
    size = len(whole.body)
    wanted = whole.body[slice(*span)]
    start = span[0] % size
    assert part.status == 206 and part.body == wanted
    assert part.headers["Content-Range"] == f"bytes {start}-{start + len(wanted) - 1}/{size}"


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_a_clip_is_refused(address, asked):
    reply = request(address, "GET", "/audio/volume", headers={"Range": asked})
    assert reply.status == 416 and reply.headers["Content-Range"].startswith("bytes */")


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=" + "9" * 5000]
)
def test_a_range_that_is_not_understood_gets_the_whole_clip(address, asked):
    reply = request(address, "GET", "/audio/volume", headers={"Range": asked})
    assert reply.status == 200 and len(reply.body) == int(reply.headers["Content-Length"])


def test_a_request_that_trickles_in_is_cut_off(test):
    with running(test, request_seconds=0.2) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost:")
            assert slow.recv(10) == b""


def test_a_listener_that_hangs_up_or_resets_disturbs_nobody(address, listener):
    host, port = address.split(":")
    for _ in range(5):
        raw = socket.create_connection((host, int(port)), timeout=10)
        raw.sendall(b"GET /audio/volume HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    assert listener.finish(lambda *_: 2)["done"]


def test_a_port_in_use_is_one_message(test, address):
    with pytest.raises(InputError, match="cannot listen"):
        Server(test, port=int(address.split(":")[1]))


def test_a_crowd_of_idle_connections_is_bounded(test):
    with running(test) as address, contextlib.ExitStack() as stack:
        host, port = address.split(":")
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        with socket.create_connection((host, int(port)), timeout=10) as one_more:
            assert one_more.recv(10) == b""
