"""Which prompts are shown: spread over tasks and labels, and blind to scores."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from calm.report.choose import choose, strongest
from calm.report.parse import parse
from calm.types import Task
from tests.report.sample import clips, manifest, results, system


@pytest.fixture
def board(tmp_path):
    listed = manifest("bench", tmp_path, tasks=("speech", "sound"), count=6)
    systems = {
        name: system(
            "folder", {"speech": {"wer": wer}}, scope=scope, items=clips(listed, tmp_path, name, hertz=200, wer=wer)
        )
        for name, wer, scope in (("a", 0.3, "unified"), ("b", 0.1, "unified"), ("c", 0.2, "modality-specific"))
    }
    return parse(results("bench", systems, folder=tmp_path, manifest=listed))


def chosen(board, count: int) -> list[str]:
    return [entry.item.id for entry in choose(board, count=count)]


def without_clips(board, dropped: dict[str, set[str]]):
    systems = [
        dataclasses.replace(each, clips={k: v for k, v in each.clips.items() if k not in dropped.get(each.name, set())})
        for each in board.systems
    ]
    return dataclasses.replace(board, systems=tuple(systems))


def test_tasks_and_labels_are_dealt_out_evenly(board):
    found = choose(board, count=4)
    assert Counter((entry.item.task, entry.item.labels) for entry in found) == {
        (Task.SPEECH, ("label 0",)): 1,
        (Task.SPEECH, ("label 1",)): 1,
        (Task.SOUND, ("label 0",)): 1,
        (Task.SOUND, ("label 1",)): 1,
    }


def test_the_choice_is_the_same_whatever_was_scored_and_however_items_are_sorted(board):
    systems = []
    for each in board.systems:
        scored = {key: dataclasses.replace(clip, scores={}) for key, clip in each.clips.items()}
        systems.append(dataclasses.replace(each, clips=scored, figures={}))
    turned = dict(reversed(board.manifest.items()))
    assert chosen(dataclasses.replace(board, systems=tuple(systems), manifest=turned), 5) == chosen(board, 5)


def test_items_with_clips_of_more_systems_come_first(board):
    fewer = {f"{task}-{number}" for task in ("speech", "sound") for number in range(6)} - {"speech-3", "sound-5"}
    assert set(chosen(without_clips(board, {"c": fewer}), 2)) == {"speech-3", "sound-5"}


def test_an_item_that_one_system_alone_has_is_not_shown(board):
    everything = {name for name in board.manifest if name != "speech-1" and name.startswith("speech")}
    alone = without_clips(board, {"b": everything, "c": everything})
    assert [name for name in chosen(alone, 12) if name.startswith("speech")] == ["speech-1"]


def test_of_one_system_alone_its_clips_are_shown(board):
    assert len(chosen(dataclasses.replace(board, systems=board.systems[:1]), 3)) == 3


def test_without_a_manifest_there_is_nothing_to_show(board):
    assert chosen(dataclasses.replace(board, manifest={}), 3) == []


def test_the_strongest_of_each_scope_is_the_best_in_the_first_column(board):
    assert [each.name for each in strongest(board, Task.SPEECH, board.systems)] == ["c", "b"]
