"""The test over HTTP, as a listener meets it and as a stranger does."""

from __future__ import annotations

import json
import socket
import sqlite3
import struct
import threading

import pytest

from calm.errors import DataError, InputError
from calm.listening import ListeningTest
from calm.listening.handler import MAX_BODY_BYTES
from calm.listening.server import Server
from calm.listening.store import Store
from calm.types import Task
from tests.listening.lab import SYSTEMS, TEXTS, Listener, make_test, request, running

TASKS = {Task.SPEECH: 2, Task.SOUND: 2}


@pytest.fixture(scope="module")
def test(tmp_path_factory) -> ListeningTest:
    return make_test(tmp_path_factory.mktemp("lab"), tasks=TASKS, items_per_listener=6)


@pytest.fixture(scope="module")
def address(test):
    with running(test) as address:
        yield address


@pytest.fixture
def listener(address) -> Listener:
    return Listener(address)


def test_nothing_that_a_listener_gets_names_a_system_an_item_or_a_check(test, address):
    pages = [request(address, "GET", path) for path in ("/", "/listen.css", "/listen.js")]
    listener = Listener(address)
    current = listener.current()
    while not current["done"]:
        listener.hear(current["trial"])
        for question in current["questions"]:
            listener.rate(current["trial"], question["key"], 1)
        current = listener.move_on(current["trial"]).json
    words = {"secret", "originals", "spoilt", "AudioCALM", "zebra-large", "targets", ".flac", "2030-01-01", *SYSTEMS}
    words |= {str(test.folder), test.fingerprint} | {stimulus.name for stimulus in test.stimuli}
    for reply in [*pages, *listener.replies]:
        assert [word for word in words if word in reply.everything] == []
    assert not any("repeat" in reply.everything for reply in listener.replies)
    assert len(listener.replies) > 25


def test_a_repeated_clip_has_another_address_than_the_first_time(test, listener):
    seen = []
    listener.finish(lambda current, _: seen.append(current["trial"]) or 3)
    assert len(set(seen)) == 8
    store = Store(test)
    names = [trial.stimulus for trial in store.session(listener.session).trials]
    store.close()
    assert len(set(names)) == 7


def test_the_text_is_shown_for_sound_and_hidden_for_speech(listener):
    seen = {}

    def look(current, key) -> int:
        seen[current["task"], key] = current["text"]
        return 3

    listener.finish(look)
    text = TEXTS[Task.SOUND]
    assert seen == {("speech", "mos"): None, ("sound", "mos_q"): text, ("sound", "mos_t"): text}


def test_a_session_goes_on_where_it_was_with_what_was_rated(address, listener):
    listener.finish(lambda *_: 4, trials=3)
    current = listener.current()
    assert current["position"] == 4
    listener.rate(current["trial"], current["questions"][0]["key"], 2)
    again = listener.current()
    assert again["trial"] == current["trial"] and again["questions"][0]["score"] == 2
    assert listener.finish(lambda *_: 4)["done"]
    assert listener.current()["code"] == listener.current()["code"] != Listener(address).current().get("code")


def test_a_score_can_be_changed_until_the_listener_goes_on(test, listener):
    current = listener.current()
    key = current["questions"][0]["key"]
    for score in (2, 5, 5):
        assert listener.rate(current["trial"], key, score).json == {"saved": True}
    for question in current["questions"][1:]:
        listener.rate(current["trial"], question["key"], 5)
    following = listener.move_on(current["trial"]).json
    assert listener.move_on(current["trial"]).json == following
    assert listener.rate(current["trial"], key, 5).status == 200  # a repeated request, its reply was lost
    assert listener.rate(current["trial"], key, 1).status == 409
    store = Store(test)
    first = store.session(listener.session).trials[0]
    store.close()
    assert set(first.scores.values()) == {5}


def test_only_the_current_clip_can_be_rated_and_only_a_rated_one_left(test, listener):
    store = Store(test)
    later = store.session(listener.session).trials[2].token
    store.close()
    current = listener.current()
    key = current["questions"][0]["key"]
    assert listener.rate(later, key, 3).status in (400, 409)
    assert listener.move_on(current["trial"]).status == 409
    assert listener.current() == current


@pytest.mark.parametrize("score", [0, 6, 3.0, True, "3", None, [3]])
def test_what_is_no_score_is_refused(score, listener):
    current = listener.current()
    assert listener.rate(current["trial"], current["questions"][0]["key"], score).status == 400
    assert listener.current() == current


@pytest.mark.parametrize("question", ["mos_x", "", "'; DROP TABLE ratings; --"])
def test_a_question_that_is_not_asked_is_refused(question, listener):
    assert listener.rate(listener.current()["trial"], question, 3).status == 400


def test_sessions_and_clips_of_others_are_unknown(address, listener):
    other = Listener(address)
    current = listener.current()
    key = current["questions"][0]["key"]
    other.session, own = "0" * 32, other.session
    assert other.rate(current["trial"], key, 3).status == 404
    other.session = own
    assert other.rate(current["trial"], key, 3).status == 404
    assert request(address, "GET", "/api/next", headers={"X-Session": "0" * 32}).status == 404
    assert request(address, "GET", "/api/next").status == 404


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


def test_many_listeners_at_once_get_sessions_of_their_own_and_balanced_clips(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 4}, items_per_listener=4)
    done = []
    with running(test) as address:
        threads = [
            threading.Thread(
                target=lambda: done.append(Listener(address).finish(lambda current, _: current["position"] % 2 + 1))
            )
            for _ in range(9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({entry["code"] for entry in done}) == 9
    store = Store(test)
    rated = [t.stimulus for session in store.sessions() for t in session.trials if t.kind == "rated" and t.scores]
    store.close()
    assert len(rated) == 36 and {rated.count(name) for name in {s.name for s in test.rated}} == {3}


def test_the_database_knows_scores_and_times_and_nothing_of_a_person(test, listener):
    listener.finish(lambda *_: 3)
    db = sqlite3.connect(test.database)
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {name: {row[1] for row in db.execute(f"PRAGMA table_info({name})")} for name in tables}
    modes = db.execute("PRAGMA journal_mode").fetchone()
    db.close()
    assert columns["sessions"] == {"id", "token", "code", "seen"}
    assert tables == {"test", "sessions", "trials", "ratings"} and modes == ("wal",)


def test_ratings_of_another_test_are_refused(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 1})
    Store(test).close()
    make_test(tmp_path, tasks={Task.SPEECH: 1}, seed=3)  # nobody had rated: it may be replaced
    with running(ListeningTest.read(test.folder)) as address:
        Listener(address).finish(lambda *_: 3, trials=1)
    with pytest.raises(DataError, match="another listening test, with 1 ratings"):
        make_test(tmp_path, tasks={Task.SPEECH: 1})
    with pytest.raises(DataError, match="belong to another test"):
        Store(test)
    test.database.write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="cannot be read"):
        Store(ListeningTest.read(test.folder))
