"""The format version of exports and checkpoints: written, older ones load, newer ones say what to do."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from calm.errors import CheckpointError
from calm.model import format as formats
from calm.model.checkpoint import load_into, save_pretrained
from calm.model.format import FORMAT_KEY, FORMAT_VERSION, check_format
from calm.training.checkpoint_io import read_checkpoint
from calm.training.fit import train
from tests.factory import tiny_generator
from tests.training.toy import ToyData, toy_config, toy_root


@pytest.fixture
def export(tmp_path):
    return save_pretrained(tmp_path / "export", model=tiny_generator(), config=toy_config(tmp_path))


def write_as(folder, version):
    path = folder / "model.safetensors"
    save_file(load_file(path), path, metadata={} if version is None else {FORMAT_KEY: version})


def load(folder):
    load_into(tiny_generator(seed=1), folder)


def test_an_export_says_its_version(export):
    with safe_open(export / "model.safetensors", framework="pt") as file:
        assert file.metadata()[FORMAT_KEY] == str(FORMAT_VERSION)


@pytest.mark.parametrize("version", [None, "1", "2"])
def test_exports_of_older_versions_load(export, version):
    write_as(export, version)
    load(export)


@pytest.mark.parametrize(("version", "said"), [("3", "newer release"), ("new", "no format version")])
def test_other_exports_are_refused_with_the_next_step(export, version, said):
    write_as(export, version)
    with pytest.raises(CheckpointError, match=said):
        load(export)


def test_a_version_that_is_too_old_says_how_to_convert_it(monkeypatch):
    monkeypatch.setattr(formats, "OLDEST_VERSION", 2)
    with pytest.raises(CheckpointError, match="convert it with a release in between: calm export"):
        check_format(None, where="here")


def test_a_checkpoint_says_its_version_and_older_ones_continue(tmp_path):
    train(toy_root(), ToyData(), config=toy_config(tmp_path, max_steps=2), progress=False)
    path = tmp_path / "checkpoints/last.ckpt"
    checkpoint = read_checkpoint(path)
    assert checkpoint.pop(FORMAT_KEY) == FORMAT_VERSION
    del checkpoint["config"]["lora"]  # a group that did not exist then
    torch.save(checkpoint, path)
    again = toy_config(tmp_path, max_steps=3, ckpt_path="last")
    assert train(toy_root(), ToyData(), config=again, progress=False).step == 3
    torch.save({**checkpoint, FORMAT_KEY: FORMAT_VERSION + 1}, path)
    with pytest.raises(CheckpointError, match="newer release"):
        train(toy_root(), ToyData(), config=again, progress=False)
