"""The page in a real browser, from the first word to the code, by keyboard and by hand."""

from __future__ import annotations

import pytest

from calm.listening.store import Store
from calm.types import Task
from tests.chromium import BROWSER, NAMES, Chromium
from tests.listening.lab import make_test, running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium found (looked for {', '.join(NAMES)})"),
]

SHOWN = "document.documentElement.dataset.shown"
LOCKED = "[...document.querySelectorAll('fieldset')].every((field) => field.disabled)"


@pytest.fixture(scope="module")
def test(tmp_path_factory):
    return make_test(tmp_path_factory.mktemp("lab"), tasks={Task.SOUND: 1, Task.SPEECH: 1}, items_per_listener=6)


@pytest.fixture(scope="module")
def address(test):
    with running(test) as address:
        yield address


@pytest.fixture
def tab(address, tmp_path):
    tab = Chromium(tmp_path / "profile")
    tab.open(f"http://{address}/")
    yield tab
    tab.close()


def click(tab: Chromium, selector: str) -> None:
    tab.run(f"document.querySelector({selector!r}).click()")


def begin(tab: Chromium) -> None:
    """From the introduction through the volume check to the first clip."""
    tab.wait(f"{SHOWN} === 'intro'")
    click(tab, "#start")
    assert tab.run("document.querySelector('#loud').disabled")
    tab.press(" ")  # the play button has the focus
    tab.wait("!document.querySelector('#loud').disabled")
    click(tab, "#loud")
    tab.wait(f"{SHOWN} === 'trial'")


def hear(tab: Chromium) -> None:
    tab.press(" ")
    tab.wait(f"!({LOCKED})")


def test_a_listener_gets_from_the_introduction_to_the_code_by_keyboard_alone(tab, test, address):
    begin(tab)
    for number in range(1, 9):
        tab.wait(f"document.querySelector('#count').textContent === '{number} of 8'")
        assert tab.run(LOCKED) and tab.run("document.querySelector('#next').disabled")
        tab.press("3")
        assert tab.run("document.querySelector('input:checked') === null")  # not before it was heard
        described = tab.run("!document.querySelector('#described').hidden")
        assert described == (tab.run("document.querySelectorAll('fieldset').length") == 2)
        hear(tab)
        tab.press("2")
        if described:
            assert tab.run("document.querySelector('#next').disabled")
            tab.press("3")
        tab.wait("!document.querySelector('#next').disabled")
        tab.press("Enter")
    tab.wait(f"{SHOWN} === 'thanks'")
    store = Store(test)
    session = store.sessions()[0]
    store.close()
    assert tab.run("document.querySelector('#code').textContent").replace("-", "") == session.code
    assert {tuple(sorted(trial.scores.items())) for trial in session.trials} == {
        (("mos", 2),),
        (("mos_q", 2), ("mos_t", 3)),
    }
    assert tab.complaints == []
    assert all(url.startswith((f"http://{address}/", "data:", "about:")) for url in tab.requests)


def test_a_reload_goes_on_where_the_listener_was(tab, address):
    begin(tab)
    hear(tab)
    tab.press("4")
    tab.wait("document.querySelector('#status').textContent.startsWith('Saved')")
    before = tab.run("trial.token")
    tab.open(f"http://{address}/")
    tab.wait(f"{SHOWN} === 'trial'")
    assert tab.run("trial.token") == before
    assert tab.run("document.querySelector('input:checked').value") == "4" and not tab.run(LOCKED)


def test_another_listener_on_the_same_machine_starts_afresh(tab):
    begin(tab)
    tab.run("document.querySelector('#again').click()")
    tab.wait(f"{SHOWN} === 'intro'")
    assert tab.run("localStorage.length") == 0


def test_scores_are_radio_buttons_with_names_and_groups_with_questions(tab):
    begin(tab)
    hear(tab)
    nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
    found = [(n["role"]["value"], n["name"]["value"]) for n in nodes if n.get("name") and not n["ignored"]]
    radios = [name for role, name in found if role == "radio"]
    assert radios[:5] == ["1 Bad", "2 Poor", "3 Fair", "4 Good", "5 Excellent"]
    assert any(role == "group" and name.endswith("?") for role, name in found)
    assert ("button", "Play again") in found or ("button", "Pause") in found


@pytest.mark.parametrize("width", [380, 1200])
def test_nothing_is_wider_than_the_window(tab, width):
    tab.look(width=width)
    begin(tab)
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_that_is_gone_is_said_and_can_be_tried_again(tab):
    begin(tab)
    tab.run("WAITS.length = 1; fetch_ = window.fetch; window.fetch = () => Promise.reject(new Error()); resume()")
    tab.wait(f"{SHOWN} === 'trouble'")
    tab.run("window.fetch = fetch_")
    click(tab, "#retry")
    tab.wait(f"{SHOWN} === 'trial'")
