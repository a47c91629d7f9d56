"""Several result files become one table where they may, and stand apart where they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from calm.report.merge import merge
from calm.report.panel import labels, panels
from calm.report.parse import parse
from calm.report.records import LoadedResults
from calm.types import Task
from tests.report.sample import figure, manifest, results, system


@pytest.fixture
def listed(tmp_path):
    return manifest("bench", tmp_path, count=2)


def file(folder: Path, listed, systems: dict, *, name: str = "bench") -> LoadedResults:
    return results(name, systems, folder=folder, manifest=listed)


def ours(**figures: float) -> dict:
    return system("folder", {"speech": figures})


def merged(*files: LoadedResults):
    return merge([parse(each) for each in files])


def figures(board, name: str) -> dict[str, float]:
    (found,) = [each for each in board.systems if each.name == name]
    return {board.columns[key].key: cell.value for key, cell in found.figures[Task.SPEECH].items()}


def test_systems_of_two_files_stand_in_one_table(tmp_path, listed):
    (board,) = merged(file(tmp_path, listed, {"a": ours(wer=0.1)}), file(tmp_path, listed, {"b": ours(wer=0.2)}))
    assert (figures(board, "a"), figures(board, "b")) == ({"wer": 0.1}, {"wer": 0.2})
    assert board.notes == () and len(board.columns) == 1


def test_a_system_that_was_evaluated_again_is_the_later_files_and_the_page_says_so(tmp_path, listed):
    first, later = ({"a": ours(wer=0.1, sim=0.6)}, {"a": ours(wer=0.2)})
    (board,) = merged(file(tmp_path, listed, first), file(tmp_path, listed, later))
    assert figures(board, "a") == {"wer": 0.2}
    assert "the later one is shown" in board.notes[0] and "a" in board.notes[0]


def test_figures_of_other_metrics_are_joined_and_the_page_says_so(tmp_path, listed):
    (board,) = merged(file(tmp_path, listed, {"a": ours(wer=0.1)}), file(tmp_path, listed, {"a": ours(sim=0.6)}))
    assert figures(board, "a") == {"wer": 0.1, "sim": 0.6}
    assert "more than one result file" in board.notes[0]


def test_originals_that_are_judged_again_with_equal_figures_are_no_news(tmp_path, listed):
    original = {"o": system("original", {"speech": {"wer": 0.02}})}
    (board,) = merged(*(file(tmp_path, listed, original | {name: ours(wer=0.1)}) for name in "ab"))
    assert [each.name for each in board.systems] == ["o", "a", "b"] and board.notes == ()


def test_files_of_other_lists_stand_apart_with_a_note_on_each(tmp_path, listed):
    other = manifest("bench", tmp_path / "other", count=3)
    boards = merged(file(tmp_path, listed, {"a": ours(wer=0.1)}), file(tmp_path / "other", other, {"b": ours(wer=0.2)}))
    assert [[each.name for each in board.systems] for board in boards] == [["a"], ["b"]]
    assert all("not comparable" in board.notes[0] for board in boards)
    assert boards[0].title != boards[1].title
    assert boards[1].sha256[:12] in boards[0].notes[0] and boards[0].sha256[:12] in boards[1].notes[0]


def test_published_figures_join_the_table_of_their_benchmark_wherever_they_come(tmp_path, listed):
    paper = results("bench", {"p": system("published", {"speech": {"wer": figure(0.05, count=None)}})}, folder=tmp_path)
    own = file(tmp_path, listed, {"a": ours(wer=0.1)})
    for files in ((paper, own), (own, paper)):
        (board,) = merged(*files)
        assert {each.name for each in board.systems} == {"a", "p"} and board.sha256 == listed.sha256
        (column,) = board.columns.values()
        assert column.how["scorer"] == "pocketsphinx" and not column.published


def test_a_published_and_a_measured_system_of_one_name_are_two_rows(tmp_path, listed):
    paper = results("bench", {"a": system("published", {"speech": {"wer": figure(0.05, count=None)}})}, folder=tmp_path)
    (board,) = merged(file(tmp_path, listed, {"a": ours(wer=0.1)}), paper)
    (panel,) = panels([board], ours="a")
    assert [(row.name, row.any.published, row.ours) for row in panel.rows] == [("a", True, False), ("a", False, True)]


def test_figures_that_were_measured_otherwise_have_a_column_of_their_own(tmp_path, listed):
    one, other = file(tmp_path, listed, {"a": ours(wer=0.1)}), file(tmp_path, listed, {"b": ours(wer=0.2)})
    other.results["metrics"]["wer"]["scorer"] = "Whisper"
    (board,) = merged(one, other)
    assert list(labels(board.measures(Task.SPEECH)).values()) == ["WER, pocketsphinx", "WER, Whisper"]


def test_published_figures_of_another_metric_are_not_ranked_with_ours(tmp_path, listed):
    paper = results("bench", {"p": system("published", {"speech": {"wer": figure(0.05, count=None)}})}, folder=tmp_path)
    paper.results["columns"]["wer"]["metric"] = "wer_whisper"
    (board,) = merged(file(tmp_path, listed, {"a": ours(wer=0.1)}), paper)
    assert len(board.columns) == 2


def test_originals_come_first_ours_last_and_scopes_between(tmp_path, listed):
    systems = {
        "mine": ours(wer=0.1),
        "u": system("folder", {"speech": {"wer": 0.1}}, scope="unified"),
        "m": system("folder", {"speech": {"wer": 0.1}}, scope="modality-specific"),
        "x": system("folder", {"speech": {"wer": 0.1}}),
        "o": system("original", {"speech": {"wer": 0.1}}),
    }
    (panel,) = panels(merged(file(tmp_path, listed, systems)), ours="mine")
    assert [row.name for row in panel.rows] == ["o", "m", "u", "x", "mine"]


def test_libritts_and_seed_tts_stand_side_by_side(tmp_path):
    files = []
    for name, own in (("seed_tts_en", "a"), ("libritts", "b")):
        listed = manifest(name, tmp_path / name, count=1)
        files.append(file(tmp_path / name, listed, {own: ours(wer=0.1), "both": ours(wer=0.2)}, name=name))
    (panel,) = panels(merged(*files), ours=None)
    assert [part.board.name for part in panel.parts] == ["libritts", "seed_tts_en"]
    known = {row.name: [each is not None for each in row.systems] for row in panel.rows}
    assert known == {"a": [False, True], "b": [True, False], "both": [True, True]}
