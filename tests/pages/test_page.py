"""The page is one file, escapes what it is given, and shows whatever a run folder holds."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest

from calm.audio import read_provenance, write
from calm.config import load_config, save_config
from calm.errors import CalmError, DataError, InputError
from calm.pages import render_run
from calm.pages.load import load_page
from calm.pages.sound import load_sound
from calm.safety import stamp
from calm.types import TASKS, Task
from tests.pages.synthetic import HOSTILE, history, synthetic_page, synthetic_run, tone


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("run"), seconds=0.5)


@pytest.fixture(scope="module")
def document(run_dir) -> str:
    return render_run(run_dir).read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """Collects tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._raw = False
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._raw = False

    def handle_data(self, data):
        self.text += "" if self._raw else data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_the_page_refers_to_nothing_outside_itself(document):
    sources = [a[key] for _, a in Reader(document).tags for key in ("src", "href") if key in a]
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?://", document)


def test_a_prompt_is_shown_as_text_whatever_it_holds(document):
    reader = Reader(document)
    assert HOSTILE in reader.text
    assert len(reader.all("script")) == 1 and not reader.all("b")
    assert any(HOSTILE in a.get("aria-label", "") for a in reader.all("audio"))


def test_every_picture_and_player_has_a_name(document):
    reader = Reader(document)
    assert len(reader.all("audio")) == 6 + 6 + 6
    assert all(a.get("alt") for a in reader.all("img")) and all(a.get("aria-label") for a in reader.all("audio"))
    assert all(a.get("role") == "img" and a.get("aria-label") for a in reader.all("svg"))


def test_every_section_of_a_demo_is_there_and_linked(document):
    reader = Reader(document)
    anchors = [a["id"] for a in reader.all("section")]
    assert anchors == ["clips", "reconstructions", "overfit", "training", "stages"]
    assert [a["href"] for a in reader.all("a")] == [f"#{anchor}" for anchor in anchors]


def test_seed_finish_reason_and_speed_of_every_clip_are_told(document):
    text = Reader(document).text
    assert all(part in text for part in ("stop", "duration", "seed", "0.31", "81 ms", "a low male voice"))


def test_missing_sections_are_left_out(run_dir, tmp_path):
    page = dataclasses.replace(synthetic_page(tmp_path, seconds=0.2), overfit=None, stages=(), reconstructions=())
    (tmp_path / "page.json").write_text(json.dumps(dataclasses.asdict(page)), encoding="utf-8")
    anchors = [a["id"] for a in Reader(render_run(tmp_path).read_text(encoding="utf-8")).all("section")]
    assert anchors == ["clips", "training"]


def test_page_json_is_read_back_to_the_records_it_was_written_from(tmp_path):
    page = synthetic_page(tmp_path, seconds=0.2)
    (tmp_path / "page.json").write_text(json.dumps(dataclasses.asdict(page)), encoding="utf-8")
    assert load_page(tmp_path) == page


def test_an_ordinary_training_run_shows_its_curves_and_its_latest_samples(tmp_path):
    config = load_config(["experiment=tiny", f"run_dir={tmp_path}"])
    save_config(config, tmp_path / "config.yaml")
    history(tmp_path / "history.csv", num_steps=600)
    for step in (100, 200, 300, 400):
        tone(tmp_path / "samples" / f"step-{step:08d}" / "sound-0.wav", seconds=0.2, hertz=300)
    page = load_page(tmp_path)
    assert [clip.step for clip in page.clips] == [400, 300, 100]
    assert {clip.prompt for clip in page.clips} == set(config.trainer.prompts["sound"])
    assert [band.name for band in page.curves[0].bands] == [phase.name for phase in config.curriculum.phases]
    document = render_run(tmp_path, out=tmp_path / "other.html").read_text(encoding="utf-8")
    assert len(Reader(document).all("svg")) == len(TASKS) and not (tmp_path / "index.html").exists()


def test_many_seconds_of_audio_become_mp3_and_keep_their_record_of_origin(tmp_path):
    path = tmp_path / "clip.wav"
    tone(path, seconds=1.0, hertz=440)
    record = stamp(model="m", task=Task.SOUND, seed=3)
    write(path, load_sound(path, format="wav").waveform, provenance=record)
    wav, mp3 = (load_sound(path, format=name) for name in ("wav", "mp3"))
    assert wav.uri.startswith("data:audio/wav") and mp3.uri.startswith("data:audio/mpeg")
    assert len(mp3.uri) < len(wav.uri) / 2
    import base64

    assert read_provenance(base64.b64decode(mp3.uri.partition(",")[2])) == record


def bad_page(folder: Path, **changes) -> Path:
    values = dataclasses.asdict(synthetic_page(folder, seconds=0.2)) | changes
    (folder / "page.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clips": [{"task": "sound", "prompt": "x", "audio": "../secret.wav"}]}, "its own run"),
        ({"clips": [{"task": "sound", "prompt": "x", "audio": "gone.wav"}]}, "not there"),
        ({"clips": [{"task": "sound", "promt": "x", "audio": "gone.wav"}]}, "Did you mean 'prompt'"),
        ({"titel": "x"}, "Did you mean 'title'"),
    ],
)
def test_a_bad_page_file_gets_one_clear_error(tmp_path, changes, said):
    (tmp_path / "secret.wav").write_bytes(b"")
    with pytest.raises(CalmError, match=said):
        render_run(bad_page(tmp_path / "run", **changes))
    assert not (tmp_path / "run" / "index.html").exists()


def test_latents_that_are_no_plain_numbers_are_refused(tmp_path):
    run = bad_page(tmp_path)
    np.save(run / "speech-target.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        render_run(run)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to show"):
        render_run(tmp_path)
    with pytest.raises(InputError, match="no such run folder"):
        render_run(tmp_path / "absent")
