"""The demo at its smallest: every stage runs, the page shows it, and a second start repeats nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from calm.audio import info, read_provenance
from calm.demo import run_demo
from calm.demo.stages import Stages
from calm.generation import AudioCALM
from calm.pages.load import load_page
from calm.types import TASKS

SETTINGS = {
    "seconds_of_corpus": 40.0,
    "overfit_seconds": 1.0,
    "overrides": (
        "vae=tiny",
        "backbone=tiny",
        "adversary=none",
        "trainer.max_steps=4",
        "trainer.val_every_steps=2",
        "trainer.save_every_steps=4",
        "trainer.num_statistics_batches=1",
        "trainer.prompts={}",
        "data.batch_size=3",
        "data.num_workers=0",
        "data.max_seconds=1.6",
        "data.num_validation_batches=1",
        "sampler.num_steps=2",
        "sampler.max_seconds=1.0",
    ),
}


def demo(out: Path) -> Path:
    return run_demo(out, console=Console(quiet=True), **SETTINGS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a demo that was interrupted before its last stage, and then finished."""
    out = tmp_path_factory.mktemp("runs") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stages, "clips", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            demo(out)
    assert not (out / "index.html").exists()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("corpus", "shards", "vae", "generator", "overfit"):
            patch.setattr(Stages, name, _fail)
        demo(out)
    return out


def _interrupt(self) -> None:
    raise KeyboardInterrupt


def _fail(self) -> None:
    raise AssertionError("a finished stage ran again")


def test_the_page_shows_every_stage(finished):
    page = load_page(finished)
    assert [clip.task for clip in page.clips] == [task for task in TASKS for _ in range(2)]
    assert any(clip.voice for clip in page.clips) and all(clip.rtf > 0 for clip in page.clips)
    assert [pair.task for pair in page.reconstructions] == [pair.task for pair in page.overfit.pairs] == list(TASKS)
    assert [curves.kind for curves in page.curves] == ["generator", "vae"]
    assert len(page.stages) == 6 and all(stage.seconds > 0 for stage in page.stages)
    assert 100_000 < (finished / "index.html").stat().st_size < 15_000_000


def test_generated_files_tell_their_origin_and_recordings_do_not(finished):
    page = load_page(finished)
    assert {read_provenance(finished / clip.audio).task for clip in page.clips} == set(TASKS)
    assert [read_provenance(finished / pair.original) for pair in page.reconstructions] == [None] * 3


def test_clips_last_as_long_as_was_asked(finished):
    seconds = [round(info(finished / clip.audio).seconds, 3) for clip in load_page(finished).clips if clip.task != "speech"]
    assert seconds == [4.0, 4.0, 5.0, 5.0]


def test_the_demos_folder_is_a_model_to_generate_with(finished):
    assert AudioCALM.from_pretrained(finished).generate("rain", task="sound", duration=0.5)[0].seconds == 0.5


def test_no_half_written_file_is_left(finished):
    names = [path.name for path in finished.rglob("*")]
    assert not [name for name in names if name.startswith(".") or "partial" in name]
    assert json.loads((finished / "demo.json").read_text())["stages"].keys() == {
        "corpus", "shards", "vae", "generator", "overfit", "clips",
    }  # fmt: skip
