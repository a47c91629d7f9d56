"""How the launchers of two nodes get into the same attempt, and out of it."""

import pytest

from calm.launch.meeting import FOLDER, Meeting

SOON = 0.05


@pytest.fixture
def node(tmp_path):
    return lambda rank, num_nodes=2: Meeting(tmp_path, node_rank=rank, num_nodes=num_nodes)


def never() -> bool:
    return False


def agree(meeting):
    return meeting.agree(never, timeout=SOON)


def test_a_single_node_agrees_with_itself_and_writes_nothing(node, tmp_path):
    alone = node(0, num_nodes=1)
    alone.leave()
    assert agree(alone) and alone.broken() is None and not alone.is_left()
    assert not (tmp_path / FOLDER).exists()


def test_the_main_node_names_the_attempt_and_the_other_joins_it_once(node):
    main, other = node(0), node(1)
    assert not agree(other)
    assert agree(main) and agree(other)
    assert other.attempt == main.attempt
    assert main.broken() is None and other.broken() is None
    assert not agree(other)


def test_a_node_that_starts_anew_ends_the_attempt_of_the_main_node_and_joins_its_next(node):
    main, other = node(0), node(1)
    assert agree(main) and agree(other)
    # Killed, and started again by its scheduler: the old attempt is not joined a second time.
    restarted = node(1)
    assert not agree(restarted)
    assert main.broken() == "node 1 starts anew"
    assert agree(main) and main.broken() is None
    assert agree(restarted) and restarted.attempt == main.attempt


def test_an_attempt_that_the_main_node_has_left_is_broken_for_all(node):
    main, others = node(0, num_nodes=3), [node(1, num_nodes=3), node(2, num_nodes=3)]
    for meeting in (main, *others):
        assert agree(meeting)
    assert agree(node(0, num_nodes=3))
    assert [other.broken() for other in others] == ["the main node starts anew"] * 2
    assert all(agree(other) for other in others)


@pytest.mark.parametrize(("leaver", "stayer"), [(0, 1), (1, 0)])
def test_one_node_that_is_asked_to_stop_is_seen_by_the_other_also_before_anything_trains(node, leaver, stayer):
    left, stays = node(leaver), node(stayer)
    left.leave()
    assert stays.is_left()


def test_the_main_node_passes_on_that_another_was_asked_to_stop_and_nobody_else_is_read(node):
    main, left, stays = node(0, num_nodes=3), node(1, num_nodes=3), node(2, num_nodes=3)
    left.leave()
    assert main.is_left() and not stays.is_left()
    main.leave()
    assert stays.is_left()


def test_what_an_earlier_launch_left_behind_stops_no_later_one(node):
    for rank in (0, 1):
        node(rank).leave()
    main, other = node(0), node(1)
    assert not main.is_left() and not other.is_left()
    # The other node is first: the main node's file is still that of the earlier launch.
    assert not agree(other)
    assert agree(main) and agree(other) and main.broken() is None


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"attempt": 1, "state": "running", "time": 1}', '{"state": "left"}'])
def test_a_note_that_cannot_be_read_says_nothing(node, tmp_path, text):
    main, other = node(0), node(1)
    assert agree(main) and agree(other)
    (tmp_path / FOLDER / "node-00001.json").write_text(text)
    assert main.broken() is None and not main.is_left()
    (tmp_path / FOLDER / "node-00000.json").write_text(text)
    assert other.broken() is None and not other.is_left() and not agree(other)
