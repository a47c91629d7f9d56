"""The site in a real browser, opened from disk: it sorts, plays and unfolds, and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calm.report import write_site
from tests.chromium import BROWSER, NAMES, Chromium
from tests.report.sample import HOSTILE, sound_results, speech_results

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium found (looked for {', '.join(NAMES)})"),
]
ORDER = (
    "[...document.querySelectorAll('table.results')[0].querySelectorAll('tbody bdi')].map((name) => name.textContent)"
)
SORTED = "[...document.querySelectorAll('[aria-sort]')].map((head) => [head.cellIndex, head.getAttribute('aria-sort')])"
LEFT_AS_IS = ["Original", "One voice", "Slow one", "Paper", HOSTILE, "Ours"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    results = [speech_results(folder / "speech"), sound_results(folder / "sound")]
    return write_site(results, folder / "site", title="Judged", cards=4)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser, site) -> Chromium:
    browser.open(site)
    return browser


def test_the_script_runs_and_nothing_is_refused_or_fetched_from_elsewhere(tab, site):
    tab.run("for (const image of document.images) image.loading = 'eager'")
    tab.wait("[...document.images].every((image) => image.complete)")
    assert tab.run("document.documentElement.dataset.ready") == "true"
    assert tab.run("[...document.images].every((image) => image.naturalWidth > 0)")
    assert tab.run("document.title") == "Judged"
    assert [url for url in tab.requests if not url.startswith((site.parent.as_uri(), "data:"))] == []
    assert len(tab.requests) > 10
    assert tab.complaints == []


def test_what_comes_from_elsewhere_would_be_refused_and_noticed(tab):
    tab.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    tab.run("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"document.title = 1\">x</p>')")
    tab.wait("true")
    assert any("Content Security Policy" in line for line in tab.complaints)


def test_a_click_on_a_column_sorts_best_first_and_a_second_click_turns_it_round(tab):
    assert tab.run(ORDER) == LEFT_AS_IS
    tab.click("table.results .sortable th:nth-child(2) button")
    assert tab.run(ORDER) == ["Original", "Paper", "One voice", "Ours", HOSTILE, "Slow one"]
    assert tab.run(SORTED) == [[1, "ascending"]]
    tab.click("table.results .sortable th:nth-child(2) button")
    assert tab.run(ORDER) == ["Original", "Slow one", HOSTILE, "Ours", "One voice", "Paper"]
    assert tab.run(SORTED) == [[1, "descending"]]


def test_where_higher_is_better_the_highest_comes_first_and_missing_figures_last(tab):
    for order, direction in (
        (["Ours", "One voice", HOSTILE, "Slow one"], "descending"),
        (
            ["Slow one", HOSTILE, "One voice", "Ours"],
            "ascending",
        ),
    ):
        tab.click("table.results .sortable th:nth-child(3) button")
        assert tab.run(ORDER) == ["Original", *order, "Paper"]
        assert tab.run(SORTED) == [[2, direction]]


def test_columns_are_sorted_from_the_keyboard(tab):
    tab.run("document.querySelector('table.results .sortable th:nth-child(2) button').focus()")
    tab.press("Enter")
    assert tab.run(SORTED) == [[1, "ascending"]]
    tab.press("Tab")
    tab.press(" ")
    assert tab.run(SORTED) == [[2, "descending"]]


def test_names_are_sorted_as_words(tab):
    tab.click("table.results .sortable th:first-child button")
    assert tab.run(ORDER) == ["Original", HOSTILE, "One voice", "Ours", "Paper", "Slow one"]


def test_a_clip_plays_and_another_one_stops_it(tab):
    for number in (0, 1):
        tab.run(f"document.querySelectorAll('audio')[{number}].loop = true")
        tab.run(f"document.querySelectorAll('audio')[{number}].play()")
        tab.wait(f"document.querySelectorAll('audio')[{number}].currentTime > 0.05")
    assert tab.run("[...document.querySelectorAll('audio')].map((each) => each.paused).slice(0, 2)") == [True, False]
    assert tab.complaints == []


def test_a_click_into_a_picture_plays_from_there_though_nothing_was_fetched_before(tab):
    assert tab.run("document.querySelector('audio').readyState") == 0
    tab.run("document.querySelector('audio').addEventListener('seeked', (e) => { window.at = e.target.currentTime; })")
    tab.click(".voice .spectrogram", x=0.5)
    tab.wait("window.at !== undefined")
    assert tab.run("window.at / document.querySelector('audio').duration") == pytest.approx(0.5, abs=0.1)


def test_the_line_up_unfolds(tab):
    seen = "document.querySelector('.card details audio').checkVisibility()"
    assert tab.run(seen) is False
    tab.click(".card summary")
    assert tab.run(seen) is True


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1200])
def test_the_page_never_scrolls_sideways_and_the_system_stays_in_sight(tab, site, width, dark):
    tab.open(site, width=width, dark=dark)
    tab.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert tab.run("document.documentElement.scrollWidth <= innerWidth && innerWidth") == width
    tab.run("for (const frame of document.querySelectorAll('.scrolled')) frame.scrollLeft = 1000")
    shift = "(({left}) => left)(document.querySelector('.scrolled').getBoundingClientRect())"
    name = "(({left}) => left)(document.querySelector('.results tbody th').getBoundingClientRect())"
    assert tab.run(f"{name} - {shift}") == pytest.approx(1, abs=1)
    light = tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + Number(b), 0)")
    assert (light < 200) is dark
