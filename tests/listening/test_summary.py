"""From ratings to figures: intervals that hold, listeners who failed left out, a result file that can be read."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from calm.errors import DataError
from calm.evaluation.results import read_results, write_results
from calm.listening import ListeningTest, summarise
from calm.listening.attention import failure
from calm.listening.crossed import crossed_mean
from calm.listening.records import Settings
from calm.listening.store import Store, Trial
from calm.metrics.intervals import mean
from calm.types import Task
from tests.listening.lab import make_test

#: what listeners hear in each system
QUALITY = {"zebra": 2.0, "walrus": 3.2, "originals": 4.4}


def listen(test: ListeningTest, opinion, *, clips: int | None = None) -> None:
    """One listener, straight to the store: ``opinion(stimulus, trial, key) -> score``."""
    store = Store(test)
    token = store.new_session()
    trials = store.session(token).trials
    for trial in trials[:clips]:
        stimulus = test.stimulus(trial.stimulus)
        for key in ("mos",) if stimulus.task == Task.SPEECH else ("mos_q", "mos_t"):
            store.rate(token, trial.token, question=key, score=opinion(stimulus, trial, key))
        store.move_on(token, trial.token)
    store.close()


def honest(stimulus, trial, key) -> int:
    """The same for the same clip; spoilt clips are bad."""
    return 1 if stimulus.system is None else round(QUALITY[stimulus.system])


def drawn(rng: np.random.Generator, items: dict[str, float]):
    """A person: mild or harsh throughout, unsure of each clip, but once of a mind of the same one."""
    bias, said = rng.normal(0, 0.25), {}

    def opinion(stimulus, trial, key) -> int:
        if stimulus.system is None:
            return 1
        heard = (
            QUALITY[stimulus.system] + bias + items.setdefault(stimulus.item, rng.normal(0, 0.2)) + rng.normal(0, 0.5)
        )
        return said.setdefault((stimulus.name, key), int(np.clip(round(heard), 1, 5)))

    return opinion


def simulated(rng, *, listeners, items, per_listener, sigmas):
    """Ratings around 3 with effects of listeners, items and chance of these standard deviations."""
    of_listener, of_item = rng.normal(0, sigmas[0], listeners), rng.normal(0, sigmas[1], items)
    rows = [(n, i) for n in range(listeners) for i in rng.choice(items, per_listener, replace=False)]
    scores = [3 + of_listener[n] + of_item[i] + rng.normal(0, sigmas[2]) for n, i in rows]
    return scores, [n for n, _ in rows], [str(i) for _, i in rows]


def test_the_interval_covers_the_truth_where_that_over_ratings_does_not():
    rng = np.random.default_rng(1)
    crossed = naive = 0
    for _ in range(100):
        scores, listeners, items = simulated(rng, listeners=12, items=20, per_listener=8, sigmas=(0.5, 0.4, 0.7))
        found = crossed_mean(scores, listeners=listeners, items=items, num_resamples=300)
        plain = mean(scores)
        crossed += found.low <= 3 <= found.high
        naive += plain.low <= 3 <= plain.high
    assert crossed >= 90 and naive <= 75


@pytest.mark.parametrize("sigmas", [(0.6, 0.0, 0.1), (0.0, 0.6, 0.1)])
def test_the_interval_follows_whatever_differs_listeners_or_items(sigmas):
    scores, listeners, items = simulated(
        np.random.default_rng(0), listeners=30, items=30, per_listener=30, sigmas=sigmas
    )
    found = crossed_mean(scores, listeners=listeners, items=items)
    by = listeners if sigmas[0] else items
    means = [np.mean([s for s, label in zip(scores, by, strict=True) if label == name]) for name in sorted(set(by))]
    expected = 2 * 1.96 * np.std(means, ddof=1) / math.sqrt(30)
    assert found.high - found.low == pytest.approx(expected, rel=0.12)
    assert found.value == pytest.approx(np.mean(scores)) and found.count == 900


def test_a_lone_listener_or_item_has_no_interval():
    assert math.isnan(crossed_mean([1, 2], listeners=[0, 0], items=["a", "b"]).low)
    assert math.isnan(crossed_mean([1, 2], listeners=[0, 1], items=["a", "a"]).high)


@pytest.fixture(scope="module")
def rated(tmp_path_factory) -> ListeningTest:
    """Twelve people hear 12 of 24 clips; one more listens to nothing, one is careless, one leaves early."""
    test = make_test(tmp_path_factory.mktemp("lab"), tasks={Task.SPEECH: 8}, items_per_listener=12)
    rng, items = np.random.default_rng(3), {}
    for _ in range(12):
        listen(test, drawn(rng, items))
    listen(test, lambda *_: 4)
    flips = itertools.cycle([1, 5])
    listen(test, lambda stimulus, trial, key: 1 if stimulus.system is None else 5 if trial.kind == "repeat" else 1)
    listen(test, lambda stimulus, trial, key: 1 if stimulus.system is None else next(flips), clips=1)
    return test


def test_a_known_order_of_systems_is_found_with_intervals_around_their_quality(rated):
    figures = {name: system["figures"]["speech"]["mos"] for name, system in summarise(rated.folder)["systems"].items()}
    for name, figure in figures.items():
        assert figure["low"] <= QUALITY[name] <= figure["high"], name
        assert 0.15 < figure["high"] - figure["low"] < 1.4
    assert figures["zebra"]["high"] < figures["walrus"]["low"] < figures["walrus"]["high"] < figures["originals"]["low"]


def test_who_failed_a_check_is_counted_kept_and_left_out(rated):
    about = summarise(rated.folder)["metrics"]["listening"]
    assert about["excluded_listeners"] == 2 and about["excluded_by"] == {"spoilt": 1, "repeat": 1}
    assert about["listeners"] == 13 and about["unfinished_listeners"] == 1
    assert about["ratings"] == 12 * 12 + 1
    store = Store(rated)
    assert sum(len(trial.scores) for session in store.sessions() for trial in session.trials) == 14 * 14 + 1
    store.close()


def test_figures_are_of_the_ratings_that_count_alone(rated):
    """By hand from the store: rated clips of sessions that failed nothing; checks count nowhere."""
    store = Store(rated)
    sessions = [s for s in store.sessions() if failure(s.trials, settings=rated.settings) is None]
    store.close()
    pairs = [
        (rated.stimulus(t.stimulus), t.scores["mos"])
        for s in sessions
        for t in s.trials
        if t.kind == "rated" and t.scores
    ]
    results = summarise(rated.folder)
    for name, system in results["systems"].items():
        own = [(stimulus.item, score) for stimulus, score in pairs if stimulus.system == name]
        figure = system["figures"]["speech"]["mos"]
        assert figure["value"] == pytest.approx(np.mean([score for _, score in own])) and figure["count"] == len(own)
        for item, record in system["items"].items():
            assert record["mos"] == pytest.approx(np.mean([score for key, score in own if key == item]))
        counts = results["metrics"]["listening"]["counts"][name]["speech"]
        assert (
            counts == {"listeners": counts["listeners"], "items": 8, "ratings": len(own)} and counts["listeners"] >= 12
        )


def test_the_summary_is_a_result_file(rated, tmp_path):
    path = write_results(summarise(rated.folder, beside=rated.folder.parent), tmp_path / "results.json")
    results = read_results(path)
    assert results["columns"] == {
        "mos": {"label": "MOS", "better": "higher", "digits": 2, "unit": "", "metric": "listening"}
    }
    item = results["systems"]["zebra"]["items"]["secret-speech-0"]
    assert item["audio"] == "zebra/secret-speech-0.wav" and item["sample_rate"] == 16_000 and item["seconds"] == 0.5
    assert results["systems"]["zebra"]["source"] == {"kind": "folder", "path": "zebra"}
    assert results["systems"]["originals"]["source"] == {"kind": "original"}
    assert results["benchmark"]["items"] == {"speech": 8}
    assert summarise(rated.folder, beside=rated.folder.parent) == {
        key: results[key] for key in results if key != "format"
    }


def test_sound_and_music_have_two_figures_and_no_interval_for_one_listener(tmp_path):
    test = make_test(tmp_path, tasks={Task.SOUND: 2, Task.MUSIC: 2}, items_per_listener=12)
    listen(test, honest)
    results = summarise(test.folder)
    assert list(results["columns"]) == ["mos_q", "mos_t"]
    for task in ("sound", "music"):
        figures = results["systems"]["originals"]["figures"][task]
        assert figures == {key: {"value": 4.0, "low": None, "high": None, "count": 2} for key in ("mos_q", "mos_t")}


def test_before_anyone_listens_there_is_a_summary_without_figures(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 1})
    results = summarise(test.folder)
    assert results["systems"]["zebra"]["figures"] == {}
    assert results["systems"]["zebra"]["skipped"]["unscored"]["listening"] == {"secret-speech-0": "nobody has rated it"}
    with pytest.raises(DataError, match="no listening test"):
        summarise(tmp_path / "nowhere")


def test_ratings_of_those_who_failed_are_made_up_by_the_next(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 4}, items_per_listener=6)
    listen(test, honest)
    listen(test, lambda *_: 5)  # fails: what it rated still counts as unheard
    listen(test, honest)
    counts = [summarise(test.folder)["systems"][name]["figures"]["speech"]["mos"]["count"] for name in QUALITY]
    assert counts == [4, 4, 4]


def trials(*entries: tuple[str, str, dict[str, int]]) -> list[Trial]:
    return [
        Trial(id=n, position=n, token=str(n), stimulus=name, kind=kind, closed=bool(scores), scores=scores)
        for n, (kind, name, scores) in enumerate(entries)
    ]


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        ([("spoilt", "s", {"mos": 2})], None),
        ([("spoilt", "s", {"mos": 3})], "spoilt"),
        ([("spoilt", "s", {"mos_q": 1, "mos_t": 5})], None),
        ([("spoilt", "s", {"mos_q": 4, "mos_t": 1})], "spoilt"),
        ([("spoilt", "s", {})], None),
        ([("rated", "a", {"mos": 3}), ("repeat", "a", {"mos": 4})], None),
        ([("rated", "a", {"mos": 3}), ("repeat", "a", {"mos": 5})], "repeat"),
        ([("rated", "a", {"mos_q": 3, "mos_t": 3}), ("repeat", "a", {"mos_q": 5, "mos_t": 3})], None),
        ([("rated", "a", {"mos_q": 3, "mos_t": 3}), ("repeat", "a", {"mos_q": 5, "mos_t": 4})], "repeat"),
        ([("rated", "a", {"mos": 3}), ("repeat", "a", {})], None),
        ([("spoilt", "s", {"mos": 1}), *(("rated", str(n), {"mos": 1}) for n in range(7))], "constant"),
        ([("spoilt", "s", {"mos": 1}), *(("rated", str(n), {"mos": 1 + n // 6}) for n in range(7))], None),
        ([("rated", str(n), {"mos": 4}) for n in range(9)], None),
    ],
)
def test_a_check_fails_by_its_rule(heard, why):
    assert failure(trials(*heard), settings=Settings()) == why
