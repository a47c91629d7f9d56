"""The test over HTTP, as a listener meets it: blind, resumed where it was, every score stored once."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from calm.errors import DataError
from calm.listening import ListeningTest
from calm.listening.store import Store
from calm.types import Task
from tests.listening.lab import SYSTEMS, TEXTS, Listener, make_test, request, running


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
