"""Clips that a model makes of a list: kept where they were made of the same, and made again where not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from calm import AudioCALM, audio
from calm.errors import InputError
from calm.evaluation.generate import check_options, generate_clips, reconstruct_clips
from calm.evaluation.log import LOG_NAME, append_log, item_seed, read_log
from calm.evaluation.manifest import first_items
from tests.evaluation.judging import make_manifest
from tests.factory import tiny_generator


@pytest.fixture(scope="module")
def model():
    return AudioCALM(tiny_generator("head_flow"))


@pytest.fixture
def manifest(tmp_path):
    manifest = make_manifest(tmp_path / "list")
    short = [replace(e, item=replace(e.item, seconds=0.1)) for e in manifest.items if str(e.item.task) != "speech"]
    return replace(manifest, items=tuple(short))


OPTIONS = {"steps": 2}


def made(model, manifest, folder, **options):
    """Ids of what is made now, by their files."""
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.wav")} if folder.is_dir() else {}
    assert generate_clips(model, manifest, folder, options=OPTIONS, **options) == {}
    return {path.stem for path in folder.glob("*.wav") if path.stat().st_mtime_ns != before.get(path.name)}


def test_clips_are_as_long_as_asked_for_and_the_log_says_how_they_were_made(model, manifest, tmp_path):
    everything = {entry.item.id for entry in manifest.items}
    assert made(model, manifest, tmp_path / "out") == everything
    assert made(model, manifest, tmp_path / "out") == set()
    log = read_log(tmp_path / "out")
    assert set(log) == everything
    for id, entry in log.items():
        assert entry["seed"] == item_seed(0, id) and entry["nfe"] == 4
        assert 0 < entry["first_audio_seconds"] <= entry["seconds_taken"]
        assert audio.info(tmp_path / "out" / f"{id}.wav").seconds == pytest.approx(0.1, abs=1e-3)


def test_another_text_seed_or_option_makes_a_clip_again(model, manifest, tmp_path):
    made(model, manifest, tmp_path / "out")
    first = manifest.items[0]
    changed = replace(manifest, items=(replace(first, item=replace(first.item, text="other words")), *manifest.items[1:]))
    assert made(model, changed, tmp_path / "out") == {first.item.id}
    assert made(model, changed, tmp_path / "out", seed=1) == {entry.item.id for entry in manifest.items}


def test_a_clip_does_not_depend_on_the_rest_of_the_list(model, manifest, tmp_path):
    made(model, manifest, tmp_path / "whole")
    some = first_items(manifest, 1)
    for id in made(model, some, tmp_path / "some"):
        one, other = (audio.read(tmp_path / folder / f"{id}.wav").audio for folder in ("whole", "some"))
        assert one.equal(other)


def test_another_original_is_reconstructed_again(model, manifest, tmp_path):
    assert reconstruct_clips(model.model.vae, manifest, tmp_path / "out") == {}
    path = tmp_path / "out" / f"{manifest.items[0].item.id}.wav"
    before = path.read_bytes()
    manifest.items[0].target.write_bytes(manifest.items[1].target.read_bytes())
    reconstruct_clips(model.model.vae, manifest, tmp_path / "out")
    assert path.read_bytes() != before


def test_an_item_that_cannot_be_made_is_named_and_the_rest_is_made(model, manifest, tmp_path):
    first = manifest.items[0]
    manifest = replace(manifest, items=(replace(first, item=replace(first.item, seconds=1e-5)), *manifest.items[1:]))
    failed = generate_clips(model, manifest, tmp_path / "out", options=OPTIONS)
    assert set(failed) == {first.item.id} and "duration" in failed[first.item.id]
    assert len(list((tmp_path / "out").glob("*.wav"))) == len(manifest.items) - 1


@pytest.mark.parametrize(("name", "said"), [("seed", "decided by the list"), ("stepps", "Did you mean 'steps'")])
def test_options_that_the_list_decides_or_nobody_knows_are_refused(name, said):
    with pytest.raises(InputError, match=said):
        check_options({name: 1})


def test_a_line_cut_short_by_a_kill_costs_itself_alone(tmp_path):
    append_log(tmp_path, {"id": "a", "nfe": 1})
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write(json.dumps({"id": "b", "nfe": 2})[:-4])
    append_log(tmp_path, {"id": "c", "nfe": 3})
    assert {id: entry["nfe"] for id, entry in read_log(tmp_path).items()} == {"a": 1, "c": 3}
