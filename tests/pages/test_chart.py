"""Charts: axes that hold their points, and words for those who do not see them."""

from __future__ import annotations

import pytest

from calm.pages.chart import LEFT, WIDTH, Line, line_chart
from calm.pages.history import MAX_POINTS, load_history, smooth
from calm.pages.records import Band
from tests.pages.synthetic import history


def circles(figure):
    return [(float(c.get("cx")), float(c.get("cy"))) for c in figure.iter("circle")]


def test_a_falling_curve_runs_to_the_right_and_down():
    figure = line_chart([Line(label="a", points=[(1, 1.0), (5, 0.5), (9, 0.2)], style="val")], title="t", x_label="step")
    xs, ys = zip(*circles(figure), strict=True)
    assert list(xs) == sorted(xs) and list(ys) == sorted(ys) and min(xs) >= LEFT and max(xs) <= WIDTH


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.0, 0.0], [-2.0, -1.0], [1e-4, 2e-4], [3e5, 4e5]])
def test_any_range_of_values_gets_finite_axes_with_ticks(values):
    figure = line_chart([Line(label="a", points=list(enumerate(values)), style="val")], title="t", x_label="step")
    assert len(circles(figure)) == 2 and any(line.get("class") == "grid" for line in figure.iter("line"))


def test_nothing_to_draw_gives_no_chart():
    assert line_chart([Line(label="a", points=[], style="val")], title="t", x_label="step") is None


def test_the_label_of_a_chart_tells_where_each_curve_begins_and_ends():
    figure = line_chart([Line(label="held out", points=[(10, 1.5), (90, 0.25)], style="val")], title="Speech", x_label="step")
    label = figure.find("svg").get("aria-label")
    assert label == "Speech. held out: from 1.5 at step 10 to 0.25 at step 90"


def test_phases_that_were_not_reached_are_not_drawn():
    bands = [Band(name="first", start=0, stop=10), Band(name="second", start=10, stop=100), Band(name="never", start=100)]
    figure = line_chart([Line(label="a", points=[(1, 1), (50, 2)], style="val")], title="t", x_label="step", bands=bands)
    assert [rect.find("title").text.split(",")[0] for rect in figure.iter("rect")] == ["phase first", "phase second"]


def test_smoothing_keeps_the_mean():
    points = [(float(i), float(i % 7)) for i in range(70 * MAX_POINTS)]
    smoothed = smooth(points)
    assert len(smoothed) == MAX_POINTS
    assert sum(y for _, y in smoothed) / MAX_POINTS == pytest.approx(sum(y for _, y in points) / len(points))


def test_errors_by_noise_level_are_those_of_the_last_validation(tmp_path):
    path = tmp_path / "history.csv"
    history(path, num_steps=300)
    with path.open("a", encoding="utf-8") as file:
        file.write("450,1,val/flow/music/t3,0.125\n")
    table = load_history(path).by_noise()
    assert list(table) == ["speech", "sound", "music"] and all(len(row) == 10 for row in table.values())
    assert table["music"][3] == 0.125
