"""The page at / in a real browser, against the real server with the shipped model."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from calm import audio
from calm.safety import detect
from tests.chromium import BROWSER, NAMES, Chromium
from tests.scorer_models import tone
from tests.serving.http_lab import Lab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium found (looked for {', '.join(NAMES)})"),
]

MADE = "document.querySelectorAll('.made').length"
STATUS = "document.getElementById('status').textContent"
NEWEST = "document.querySelector('.made')"


@pytest.fixture
def tab(lab: Lab, tmp_path: Path):
    tab = Chromium(tmp_path / "profile")
    tab.open(f"{lab.url}/")
    tab.wait("document.querySelectorAll('#voice option').length > 1")
    yield tab
    tab.close()


def fill(tab: Chromium, **values: object) -> None:
    for name, value in values.items():
        tab.run(f"(document.getElementById({name!r}).value = {str(value)!r}, 0)")


def choose(tab: Chromium, task: str) -> None:
    tab.run(f"document.querySelector('input[value={task}]').click()")


def make(tab: Chromium, folder: Path) -> Path:
    """Press the button, wait for the clip, download it and its record."""
    before = tab.run(MADE)
    tab.click("#go")
    tab.wait(f"{MADE} === {before + 1}")
    folder.mkdir()
    for link in range(2):
        tab.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        tab.run(f"{NEWEST}.querySelectorAll('a[download]')[{link}].click()")
        while len([path for path in folder.iterdir() if path.suffix in (".wav", ".json")]) <= link:
            tab.run("new Promise((done) => setTimeout(done, 20))")
    return next(folder.glob("*.wav"))


def test_what_is_heard_and_downloaded_is_what_the_server_makes_of_the_seed(tab, lab, tmp_path):
    choose(tab, "sound")
    fill(tab, text="A bell rings.", duration=1, seed=5)
    path = make(tab, tmp_path / "made")
    wav = path.read_bytes()

    body = {"input": "A bell rings.", "task": "sound", "duration": 1, "seed": 5, "response_format": "pcm"}
    assert wav[44:] == httpx.post(f"{lab.url}/v1/audio/speech", json=body, timeout=60).content
    assert len(wav) == 44 + 2 * 24_000
    found = {finding.part: finding for finding in detect(path).findings}
    assert found["sidecar"].state == "intact", found["sidecar"]
    assert tab.run(f"{NEWEST}.querySelector('canvas').width") == pytest.approx(100, abs=2)
    assert tab.complaints == []
    assert all(address.startswith((lab.url, "data:", "blob:")) for address in tab.requests)


def test_the_link_of_a_clip_repeats_it_in_another_tab(tab, tmp_path):
    choose(tab, "music")
    fill(tab, text="A slow piano piece.", duration=1, steps=4)
    first = make(tab, tmp_path / "first")
    link = tab.run(f"[...{NEWEST}.querySelectorAll('a')].at(-1).href")

    tab.open("about:blank")
    tab.open(link)
    tab.wait("document.querySelectorAll('#voice option').length > 1")

    assert make(tab, tmp_path / "again").read_bytes() == first.read_bytes()


def test_a_refusal_is_shown_in_the_servers_words(tab):
    fill(tab, text="Hello.", instructions="a low voice", cfg_scale=101)
    tab.run("(document.getElementById('cfg_scale').removeAttribute('max'), 0)")
    tab.click("#go")

    tab.wait("document.getElementById('status').classList.contains('bad')")
    assert "cfg_scale" in tab.run(STATUS)
    assert not tab.run("document.getElementById('go').disabled")


def test_a_clip_can_be_stopped_and_the_server_stops_too(tab, lab):
    choose(tab, "sound")
    fill(tab, text="Rain falls.", duration=30)
    cancelled = lab.service.engine.statistics().cancelled
    tab.click("#go")
    tab.wait("!document.getElementById('now').hidden")
    tab.click("#stop")

    tab.wait(f"{MADE} === 1")
    assert "stopped" in tab.run(f"{NEWEST}.textContent")
    tab.wait(
        f"fetch('{lab.url}/health').then((r) => r.json()).then(({{ running }}) => running === 0)"
    )
    assert lab.service.engine.statistics().cancelled == cancelled + 1


def test_a_voice_of_ones_own_needs_consent_and_is_then_in_the_list(tab, tmp_path):
    clip = tmp_path / "me.wav"
    audio.write(clip, tone(180, seconds=2.0), provenance=None)
    root = tab.send("DOM.getDocument")["root"]["nodeId"]
    node = tab.send("DOM.querySelector", nodeId=root, selector="#clip")["nodeId"]
    tab.send("DOM.setFileInputFiles", nodeId=node, files=[str(clip)])
    tab.run("(document.getElementById('register').open = true)")
    fill(tab, label="mine", who="A. Speaker", purpose="tests")

    tab.click("#keep")
    assert "consent" in tab.run("document.getElementById('kept').textContent")

    tab.click("#agree")
    tab.click("#keep")
    tab.wait("document.getElementById('kept').textContent.includes('list of voices')")
    assert "mine" in tab.run("document.getElementById('voice').selectedOptions[0].textContent")
    fill(tab, text="Yes.", steps=2)
    record = json.loads(next(make(tab, tmp_path / "made").parent.glob("*.json")).read_text())["record"]
    assert record["consent_id"]


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_its_window(tab, lab, width):
    tab.open(f"{lab.url}/", width=width)
    assert tab.run("document.documentElement.scrollWidth <= window.innerWidth")
