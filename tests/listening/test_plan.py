"""The plan of a session: balanced over listeners, spread within one, with checks that can catch someone."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from calm.listening.plan import plan_session
from calm.listening.records import ListeningTest, Settings, Stimulus
from calm.types import Task


def bare_test(*, tasks: dict[Task, int], systems: int = 4, **settings) -> ListeningTest:
    """A test without audio: of each task so many items, each by all systems, and two spoilt clips."""
    about = {"text": "", "source": "", "seconds": 1.0, "sample_rate": 16_000, "lufs": -23.0}
    stimuli = []
    for task, number in tasks.items():
        for item in range(number):
            names = [f"system-{n}" for n in range(systems)] + ([None] if item < 2 else [])
            stimuli += [
                Stimulus(name=f"{task}-{item}-{name}", task=task, item=f"{task}-{item}", system=name, **about)
                for name in names
            ]
    return ListeningTest(
        folder=Path(), settings=Settings(**settings), fingerprint="", stimuli=tuple(stimuli), benchmark={}, systems={}
    )


def sessions(test: ListeningTest, number: int):
    """Plan sessions one after another, every one of them finished; returns trials of all and the counts."""
    counts: Counter[str] = Counter()
    planned = []
    for n in range(number):
        planned.append(plan_session(test, counts=counts, rng=np.random.default_rng([test.settings.seed, n])))
        counts.update(trial.stimulus.name for trial in planned[-1] if trial.kind == "rated")
    return planned, counts


@pytest.mark.parametrize("number", [1, 7, 40])
def test_every_clip_is_rated_equally_often_to_within_one(number):
    test = bare_test(tasks={Task.SPEECH: 9, Task.MUSIC: 4}, items_per_listener=10)
    _, counts = sessions(test, number)
    found = [counts[stimulus.name] for stimulus in test.rated]
    assert max(found) - min(found) <= 1 and sum(found) == 10 * number


def test_a_session_hears_every_system_equally_often_and_no_clip_twice_but_the_checks():
    test = bare_test(tasks={Task.SPEECH: 25}, items_per_listener=20)
    planned, _ = sessions(test, 12)
    for trials in planned:
        rated = [trial.stimulus for trial in trials if trial.kind == "rated"]
        assert len({stimulus.name for stimulus in rated}) == 20
    first = Counter(trial.stimulus.system for trial in planned[0] if trial.kind == "rated")
    assert set(first.values()) == {5}


def test_clips_of_one_item_are_spread_over_the_session():
    """Four clips of each of six items: a quarter of the session apart, so never neighbours."""
    test = bare_test(tasks={Task.SPEECH: 6}, items_per_listener=24, num_checks=0)
    for trials in sessions(test, 20)[0]:
        places: dict[str, list[int]] = {}
        for place, trial in enumerate(trials):
            places.setdefault(trial.stimulus.item, []).append(place)
        gaps = [b - a for found in places.values() for a, b in itertools.pairwise(found)]
        assert min(gaps) >= 4


def test_listeners_have_orders_of_their_own_and_the_seed_repeats_them():
    test = bare_test(tasks={Task.SPEECH: 6}, items_per_listener=24)
    first, again = sessions(test, 8)[0], sessions(test, 8)[0]
    orders = [tuple(trial.stimulus.name for trial in trials) for trials in first]
    assert len(set(orders)) == 8
    assert first == again
    other = bare_test(tasks={Task.SPEECH: 6}, items_per_listener=24, seed=1)
    assert sessions(other, 8)[0] != first


def test_no_system_is_favoured_by_its_place_in_the_session():
    test = bare_test(tasks={Task.SPEECH: 6}, items_per_listener=24, num_checks=0)
    places: dict[str, list[int]] = {}
    for trials in sessions(test, 200)[0]:
        for place, trial in enumerate(trials):
            places.setdefault(str(trial.stimulus.system), []).append(place)
    # 1,200 places of 0..23: the standard error of a mean is 0.2.
    assert all(abs(np.mean(found) - 11.5) < 0.8 for found in places.values())


def test_tasks_come_in_blocks_and_either_may_be_first():
    test = bare_test(tasks={Task.SPEECH: 5, Task.SOUND: 5}, items_per_listener=20)
    first = set()
    for trials in sessions(test, 10)[0]:
        tasks = [trial.stimulus.task for trial in trials]
        assert sum(a != b for a, b in itertools.pairwise(tasks)) == 1
        first.add(tasks[0])
    assert first == {Task.SPEECH, Task.SOUND}


def test_a_session_has_a_spoilt_clip_that_is_not_its_first_and_a_late_repeat_of_an_early_clip():
    test = bare_test(tasks={Task.SPEECH: 10}, items_per_listener=16)
    for trials in sessions(test, 30)[0]:
        kinds = Counter(trial.kind for trial in trials)
        assert kinds == {"rated": 16, "spoilt": 1, "repeat": 1}
        assert trials[0].kind == "rated"
        places = {trial.kind: place for place, trial in enumerate(trials)}
        names = [trial.stimulus.name for trial in trials]
        first, second = (place for place, name in enumerate(names) if name == names[places["repeat"]])
        assert second == places["repeat"] and second - first >= 4


@pytest.mark.parametrize("number", [0, 1, 4, 9])
def test_the_number_of_checks_is_a_setting(number):
    test = bare_test(tasks={Task.SPEECH: 10, Task.MUSIC: 3}, items_per_listener=30, num_checks=number)
    kinds = Counter(trial.kind for trial in sessions(test, 1)[0][0])
    assert kinds["spoilt"] == -(-number // 2) and kinds["repeat"] == number // 2


def test_a_test_of_one_clip_can_be_planned():
    trials = sessions(bare_test(tasks={Task.SOUND: 1}, systems=1), 1)[0][0]
    assert next(trial.kind for trial in trials) == "rated"
