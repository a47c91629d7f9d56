"""The best figure and the second, as a reader would find them by eye."""

from __future__ import annotations

import pytest

from calm.report.rank import marks
from calm.report.records import Cell, Measure


def measure(better: str, *, digits: int = 2) -> Measure:
    return Measure(id="x", key="x", label="X", better=better, digits=digits, unit="", metric="x", how={})


def ranked(values: dict[str, float], better: str = "lower", *, digits: int = 2) -> dict[str, str]:
    return marks(measure(better, digits=digits), {key: Cell(value=value) for key, value in values.items()})


def test_lower_or_higher_is_better_as_the_column_says():
    values = {"a": 0.1, "b": 0.2, "c": 0.3}
    assert ranked(values, "lower") == {"a": "best", "b": "second"}
    assert ranked(values, "higher") == {"c": "best", "b": "second"}


def test_equal_figures_share_the_first_place_and_leave_no_second():
    assert ranked({"a": 0.1, "b": 0.1, "c": 0.3}) == {"a": "best", "b": "best"}


def test_equal_figures_share_the_second_place():
    assert ranked({"a": 0.1, "b": 0.2, "c": 0.2}) == {"a": "best", "b": "second", "c": "second"}


def test_digits_that_nobody_sees_decide_nothing():
    values = {"a": 0.1011, "b": 0.1009, "c": 0.3}
    assert ranked(values) == {"a": "best", "b": "best"}
    assert ranked(values, digits=4) == {"b": "best", "a": "second"}


def test_negative_figures_are_ranked_by_their_value_not_their_size():
    assert ranked({"a": -3.0, "b": -1.0, "c": 2.0}, "higher") == {"c": "best", "b": "second"}


@pytest.mark.parametrize("values", [{}, {"a": 0.1}, {"a": 0.1, "b": 0.1}])
def test_where_nothing_differs_nothing_is_marked(values):
    assert ranked(values) == {}


def test_a_figure_is_shown_with_the_digits_of_its_column_and_a_real_minus():
    assert measure("lower", digits=3).shown(0.5) == "0.500"
    assert measure("lower", digits=1).shown(-2.25) == "−2.2"
    assert measure("lower", digits=1).shown(-0.01) == "0.0"
