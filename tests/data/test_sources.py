"""Several sources of shards: exact shares by weight within a task, and how they travel from configuration to batches."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from calm.config import load_config
from calm.data.batching import ByClips
from calm.data.config import DataConfig, ShardSource
from calm.data.cut import ClipCut
from calm.data.plan import Plan
from calm.data.source import SourceSettings
from calm.data.sources import open_sources
from calm.data.streaming import WebDatasetSource
from calm.errors import CheckpointError, ConfigError, DataError
from calm.types import TASKS, Task
from tests.data.clips import make_shards
from tests.data.test_datamodule import assert_same, module, take

# Speech in three sources, sound in two, music in the last alone.
ROWS = {Task.SPEECH: range(0, 60), Task.SOUND: range(60, 100), Task.MUSIC: range(100, 120)}
SOURCE_OF = [row // 5 % 3 if row < 60 else 1 + row // 3 % 2 if row < 100 else 2 for row in range(120)]
SECONDS = np.random.default_rng(0).uniform(1, 10, size=120)
EQUAL = {str(task): 1.0 for task in TASKS}


def plan(source_weights=(6, 3, 1), weights_at=lambda step: EQUAL, **options) -> Plan:
    options = {"batching": ByClips(9), "seed": 0, "bucket_steps": 1, "source_of": SOURCE_OF, **options}
    return Plan(ROWS, seconds=SECONDS, weights_at=weights_at, source_weights=source_weights, **options)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folders of speech and sound, and of speech and music."""
    first = make_shards(tmp_path_factory.mktemp("first"), num_music=0)
    second = make_shards(tmp_path_factory.mktemp("second"), num_sound=0)
    # Shards of the two have equal names, as they may.
    return [{"name": "first", "weight": 3.0, "urls": str(first)}, {"name": "second", "weight": 1.0, "urls": str(second)}]


def sources(rows) -> tuple[ShardSource, ...]:
    return tuple(ShardSource(**row) for row in rows)


def test_within_a_task_every_source_has_its_share_to_less_than_one_draw():
    made, drawn = plan(), Counter()
    for step in range(150):
        drawn.update((draw.task, SOURCE_OF[draw.row]) for draw in made.batch(step))
        speech, sound = (sum(drawn[task, source] for source in range(3)) for task in (Task.SPEECH, Task.SOUND))
        assert all(abs(drawn[Task.SPEECH, s] - speech * share) < 1 for s, share in enumerate((0.6, 0.3, 0.1)))
        assert all(abs(drawn[Task.SOUND, s] - sound * share) < 1 for s, share in enumerate((0, 0.75, 0.25)))
    assert drawn[Task.MUSIC, 2] == 450 and not drawn[Task.MUSIC, 0]


def test_every_clip_of_a_source_is_drawn_once_per_epoch_of_that_source():
    made = plan()
    draws = [d for step in range(60) for d in made.batch(step) if d.task is Task.SPEECH and SOURCE_OF[d.row] == 1]
    draws.sort(key=lambda draw: draw.number)
    assert [draw.number for draw in draws] == list(range(len(draws)))
    assert sorted(d.row for d in draws[:20]) == sorted(d.row for d in draws[20:40]) == [r for r in range(60) if r // 5 % 3 == 1]


def test_a_source_without_a_short_clip_takes_no_part_while_there_is_a_limit():
    longest = float(max(SECONDS[row] for row in range(60) if SOURCE_OF[row] == 1))
    seconds = [longest + 1 if row < 60 and SOURCE_OF[row] == 0 else float(SECONDS[row]) for row in range(120)]
    made = Plan(
        ROWS, seconds=seconds, batching=ByClips(8), seed=0, bucket_steps=1, source_of=SOURCE_OF, source_weights=(6, 3, 1),
        weights_at=lambda step: {"speech": 1}, longest_at=lambda step: {Task.SPEECH: longest} if step < 10 else {},
    )  # fmt: skip
    drawn = Counter(SOURCE_OF[draw.row] for step in range(10) for draw in made.batch(step))
    assert drawn[0] == 0 and abs(drawn[1] - 60) < 1 and abs(drawn[2] - 20) < 1
    assert any(SOURCE_OF[draw.row] == 0 for draw in made.batch(10))


def test_a_saved_state_keeps_the_shares_of_the_sources():
    straight, resumed = plan(bucket_steps=2), plan(bucket_steps=2)
    resumed.seek(json.loads(json.dumps(straight.state(301))))
    assert [resumed.batch(step) for step in range(301, 306)] == [straight.batch(step) for step in range(301, 306)]


def test_a_state_from_before_there_were_sources_continues_a_plan_of_one():
    straight, resumed = plan((1.0,), source_of=None), plan((1.0,), source_of=None)
    state = straight.state(40)
    del state["sources"]
    resumed.seek(state)
    assert resumed.batch(40) == straight.batch(40)


def test_spares_are_of_the_same_source():
    made = plan()
    draw = next(draw for draw in made.batch(0) if draw.task is Task.SPEECH)
    assert {SOURCE_OF[row] for row in made.spares(0, draw)} == {SOURCE_OF[draw.row]}


def test_one_named_source_gives_the_batches_of_the_plain_setting(two):
    url = two[0]["urls"]
    assert_same(take(module(url), 4), take(module("nowhere", sources=sources([two[0]])), 4))


@pytest.mark.parametrize("by_frames", [{}, {"max_frames_per_batch": 1000}])
def test_resuming_with_other_workers_and_ranks_continues_a_mix_of_sources(two, by_frames):
    settings = {"sources": sources(two), "reference_probability": 0.0, **by_frames}
    straight = take(module("nowhere", **settings), 8)
    data = module("nowhere", **settings)
    data.next_step = 5
    state = json.loads(json.dumps(data.state_dict()))
    ranks = [module("nowhere", num_workers=2, place=(rank, 2, 1), **settings) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
    for whole, first, second in zip(straight[5:], *(take(rank, 3) for rank in ranks), strict=True):
        assert whole.keys[0::2] == first.keys and whole.keys[1::2] == second.keys
        assert 0 <= len(first.keys) - len(second.keys) <= 1
    assert all(batch.audio.shape[0] * batch.audio.shape[2] <= 1000 * 160 for batch in straight if by_frames)


def test_resuming_with_other_weights_or_another_budget_is_refused(two):
    state = module("nowhere", sources=sources(two)).state_dict()
    heavier = [two[0] | {"weight": 5.0}, two[1]]
    with pytest.raises(CheckpointError, match="another sources"):
        module("nowhere", sources=sources(heavier)).load_state_dict(state)
    with pytest.raises(CheckpointError, match="another max_frames_per_batch"):
        module("nowhere", sources=sources(two), max_frames_per_batch=2000).load_state_dict(state)


def test_a_shard_belongs_to_one_source(two):
    with pytest.raises(DataError, match="'first' and 'second' share a shard"):
        open_sources(sources([two[0], two[1] | {"urls": two[0]["urls"]}]))


def test_streams_are_drawn_by_weight_in_expectation(two):
    settings = SourceSettings(
        sources=sources(two), batch_size=40, seed=0, weights_at=lambda step: {}, cut=ClipCut(0.05)
    )
    made = WebDatasetSource(WebDatasetSource.Config(), settings=settings)
    batches = made.batches(first_step=0, worker=0, num_workers=1)
    tasks = Counter(e.sample.task for _, examples in itertools.islice(batches, 5) for e in examples)
    # A third of the clips of each source is of the task that the other lacks.
    assert 1.8 < tasks[Task.SOUND] / tasks[Task.MUSIC] < 5.0


def test_a_stream_refuses_a_budget_of_frames(two):
    with pytest.raises(ConfigError, match="Streaming cannot fill batches by length"):
        module("nowhere", sources=sources(two), source={"name": "webdataset"}, max_frames_per_batch=1000).setup()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[{name: a, urls: x, wieght: 2}]", "wieght"),
        ("[{name: a, urls: x, weight: 0}]", "The weight is 0"),
        ("[{name: a, urls: x, weight: .inf}]", "The weight is inf"),
        ("[{name: a, urls: x}, {name: a, urls: y}]", "Two sources are called 'a'"),
        ("[{name: a, urls: ''}]", "names no shards"),
    ],
)
def test_sources_that_make_no_sense_are_refused_where_they_stand(value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(["experiment=tiny", f"data.sources={value}"])
    assert "data.sources" in str(caught.value)


def test_a_budget_of_frames_is_positive_and_not_for_crops():
    for given, message in (({"max_frames_per_batch": 0}, "is 0"), ({"max_frames_per_batch": 9, "crop_seconds": 1.0}, "one length")):
        with pytest.raises(ConfigError, match=message):
            DataConfig(**given)


def test_a_task_that_no_source_holds_is_named(two):
    with pytest.raises(DataError, match="hold no music"):
        take(module("nowhere", sources=sources([two[0]]), weights_at=lambda step: {"music": 1}), 1)
