"""How requests end before they are done, and who may go first."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from calm.errors import Busy, Closing
from calm.generation.plan import Plan
from calm.serving import Engine, Limits
from calm.serving.queue import FairQueue
from tests.serving.conftest import heard

LONG = {"text": "Rain on a roof.", "task": "sound", "duration": 30.0}
SHORT = {"text": "A bell.", "task": "sound", "duration": 0.16, "steps": 1}


def test_a_cancelled_request_makes_room_and_leaves_nothing_behind(mini):
    with Engine(mini, Limits(max_running=1)) as engine:
        stream = engine.submit(**LONG)
        next(iter(stream))
        plan = weakref.ref(engine._running[0].plan)
        stream.cancel()
        assert heard(engine.submit(**SHORT)).shape[-1] == 2560
        assert list(stream) == [] and stream.finish_reason == "cancelled" and stream.error is None
        gc.collect()
        assert plan() is None and engine.statistics().running == 0
    assert engine.statistics().cancelled == 1


def test_a_request_that_is_cancelled_in_the_queue_never_runs(mini):
    with Engine(mini, Limits(max_running=1)) as engine:
        first, second = engine.submit(**LONG), engine.submit(**LONG)
        second.cancel()
        list(second)
        assert second.timings.queued_seconds is None and first.finish_reason is None


def test_a_deadline_ends_a_request_and_keeps_what_it_has_made(mini):
    with Engine(mini) as engine:
        stream = engine.submit(**LONG, deadline_seconds=1.0)
        made = sum(piece.seconds for piece in stream)
    assert stream.finish_reason == "deadline" and stream.error is None
    assert made == pytest.approx(stream.timings.audio_seconds) and made < 30


def test_a_full_queue_is_busy_and_says_for_how_long(mini):
    with Engine(mini, Limits(max_running=1, max_queued=1)) as engine:
        next(iter(engine.submit(**LONG)))
        engine.submit(**LONG)
        with pytest.raises(Busy) as busy:
            engine.submit(**SHORT)
    assert busy.value.retry_seconds >= 1 and engine.statistics().refused == 1


def test_a_named_client_has_a_cap_of_its_own(mini):
    with Engine(mini, Limits(max_per_client=1)) as engine:
        engine.submit(**LONG, client="one")
        with pytest.raises(Busy, match="Client 'one' has 1"):
            engine.submit(**SHORT, client="one")
        heard(engine.submit(**SHORT, client="two"))
        for _ in range(2):
            engine.submit(**SHORT)


def test_clients_take_turns(mini):
    order, lock = [], threading.Lock()
    with Engine(mini, Limits(max_running=1)) as engine:
        blocker = engine.submit(**LONG)
        next(iter(blocker))

        def said(name):
            def notify():
                with lock:
                    order.append(name)

            return notify

        greedy = [engine.submit(**SHORT, client="greedy", notify=said("greedy")) for _ in range(3)]
        modest = engine.submit(**SHORT, client="modest", notify=said("modest"))
        blocker.cancel()
        for stream in (*greedy, modest):
            heard(stream)
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert turns == ["greedy", "modest", "greedy"]


def test_the_fair_queue_keeps_the_order_within_a_client():
    queue = FairQueue()
    for client, item in (("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)):
        queue.push(client, item)
    queue.keep(lambda item: item != 2)
    assert len(queue) == 4 and [queue.pop() for _ in range(4)] == [1, 3, 5, 4] and not list(queue)


def test_a_slow_reader_pauses_its_own_request_only_and_goes_on_where_it_was(mini):
    with Engine(mini, Limits(max_buffered_seconds=0.2)) as engine:
        slow = engine.submit("Rain.", task="sound", duration=0.8, seed=2)
        # Others are served meanwhile, until the slow one has had time for all of its blocks.
        for _ in range(8):
            heard(engine.submit(**SHORT))
        assert not slow.ended and slow.timings.audio_seconds <= 0.4 and slow.finish_reason is None
        audio = heard(slow)
    assert audio.shape[-1] == 12800 and slow.finish_reason == "duration"


def test_a_reader_that_never_comes_ends_its_request(mini):
    ended = threading.Event()
    with Engine(mini, Limits(max_buffered_seconds=0.1, max_paused_seconds=0.05)) as engine:
        stream = engine.submit(**LONG, notify=lambda: stream.finish_reason and ended.set())
        assert ended.wait(60)
    assert stream.finish_reason == "slow_reader" and stream.take()


def test_stopping_lets_accepted_requests_finish_within_their_time(mini):
    engine = Engine(mini, Limits(max_running=1)).start()
    streams = [engine.submit(**SHORT), engine.submit(**SHORT)]
    engine.stop(drain_seconds=60)
    assert [stream.finish_reason for stream in streams] == ["duration"] * 2
    engine = Engine(mini, Limits(max_running=1)).start()
    streams = [engine.submit(**LONG), engine.submit(**LONG)]
    engine.stop(drain_seconds=0)
    assert [stream.finish_reason for stream in streams] == ["cancelled"] * 2


def test_one_request_that_cannot_be_opened_fails_alone_and_gives_its_error(mini, monkeypatch):
    with Engine(mini) as engine:
        good = engine.submit(**SHORT)
        plan = engine.model.plan
        monkeypatch.setattr(engine.model, "plan", lambda *args, **options: _broken(plan(*args, **options)))
        bad = engine.submit(**SHORT)
        with pytest.raises(AttributeError):
            list(bad)
        assert heard(good).shape[-1] == 2560
    assert bad.finish_reason == "error" and engine.statistics().failed == 1


def test_a_reader_that_cannot_be_told_loses_its_own_request_only(mini):
    def gone():
        raise RuntimeError("the loop is closed")

    with Engine(mini) as engine, pytest.warns(UserWarning, match="the loop is closed"):
        lost = engine.submit(**LONG, notify=gone)
        assert heard(engine.submit(**SHORT)).shape[-1] == 2560
        list(lost)
    assert lost.finish_reason == "cancelled"


def test_no_reader_waits_for_an_engine_that_broke_down(mini, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    engine = Engine(mini).start()
    monkeypatch.setattr(engine, "_advance", lambda jobs: jobs.no_such_method())
    stream = engine.submit(**SHORT)
    with pytest.raises(Closing, match="broken down"):
        list(stream)
    engine.stop()
    with pytest.raises(Closing):
        engine.submit(**SHORT)


def _broken(plan: Plan) -> Plan:
    object.__setattr__(plan, "prompt", None)
    return plan
