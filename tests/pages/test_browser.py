"""The page in a real browser: it renders, its script runs, and asks the network for nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from calm.pages import render_run
from tests.chromium import BROWSER, NAMES
from tests.pages.synthetic import synthetic_run

SETTINGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--virtual-time-budget=3000",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium found (looked for {', '.join(NAMES)})"),
]


class Visit:
    """What the browser made of a page, and what the page logged to the console."""

    def __init__(self, page: Path, *, profile: Path) -> None:
        command = [BROWSER, *SETTINGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        self.dom = done.stdout
        self.console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return render_run(synthetic_run(tmp_path_factory.mktemp("run"), seconds=0.5))


@pytest.fixture(scope="module")
def visit(page, tmp_path_factory) -> Visit:
    return Visit(page, profile=tmp_path_factory.mktemp("profile"))


def test_the_script_runs_and_every_player_and_chart_is_there(visit):
    assert 'data-ready="true"' in visit.dom
    assert visit.dom.count("<audio") == 18 and visit.dom.count("<svg") == 6


def test_a_hostile_prompt_does_not_run(visit):
    assert "<title>A small AudioCALM, from nothing</title>" in visit.dom


def test_the_page_breaks_no_rule_and_reports_no_error(visit):
    """Its own policy forbids every request, so an attempt to load anything would be on the console."""
    assert visit.console == []


def test_an_attempt_to_load_something_would_be_noticed(page, tmp_path):
    changed = tmp_path / "changed.html"
    text = page.read_text(encoding="utf-8")
    changed.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'), encoding="utf-8")
    assert any("Content Security Policy" in line for line in Visit(changed, profile=tmp_path / "profile").console)
