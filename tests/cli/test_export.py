"""`calm export`, `calm models`, and `calm generate` without a model's name, as the shell sees them."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from calm import audio
from calm.cli import app
from calm.config import load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.export import _relocated

HISTORY = """step,seconds,name,value
20,8.0,train/loss,1.5
40,3600.0,val/loss,0.9
80,7200.0,val/loss,0.25
"""


def calm(*words):
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="calm")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("calm.model.shipped.SHIPPED", tmp_path / "models")
    return tmp_path


@pytest.fixture
def run(here):
    """A finished run: its export with random weights, and its history."""
    parts = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]
    settings = ["name=trial", "trainer.accelerator=cpu", "trainer.devices=1", "sampler.num_steps=1", "sampler.max_seconds=0.5"]
    config = load_config([*parts, *settings])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config)
        model.head.out.weight.data.normal_()
    save_pretrained(here / "runs/trial/export", model=model, config=config)
    (here / "runs/trial/history.csv").write_text(HISTORY)
    return here / "runs/trial"


def test_an_exported_run_is_the_default_model_once_it_is_called_mini(run, here):
    refused = calm("generate", "Hello.")
    assert refused.exit_code == 2 and "make demo" in refused.stderr and "this copy has none" in refused.stderr
    assert "no model is in this copy" in calm("models").stdout
    written = calm("export", run, "models/mini")
    assert written.exit_code == 0, written.output
    assert "MB in float16" in written.stdout and "velocity: largest error" in written.stdout
    spoken = calm("generate", "Hello.", "--device", "cpu", "-o", "hello.wav")
    assert spoken.exit_code == 0, spoken.output
    record = audio.read_provenance(here / "hello.wav")
    assert (record.model, record.task) == ("mini", "speech")
    assert "mini" in calm("models").stdout and "generator" in calm("models").stdout


def test_the_card_says_what_the_run_knows_and_nothing_else(run, here):
    assert calm("export", run, "small", "--dtype", "bfloat16").exit_code == 0
    card = (here / "small/README.md").read_text()
    for known in ("# small", "80 steps of 16 clips, 2.0 hours", "| loss | 0.25 |", "| cpu, 1 device, 1 node, 32-true |", "matrices bfloat16"):
        assert known in card
    assert "0.9 |" not in card and "| training data" not in card and "None" not in card and str(here) not in card


def test_a_folder_with_files_is_not_written_over(run, here):
    (here / "out").mkdir()
    (here / "out/notes.txt").write_text("mine")
    refused = calm("export", run, "out")
    assert refused.exit_code == 2 and "not empty" in refused.stderr
    assert [file.name for file in (here / "out").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/none", "out"], "no model 'runs/none'"),
        (["runs/trial", "out", "--dtype", "int4"], "float16, bfloat16, float32"),
        (["runs/trial", "out", "--shared-vae", "other"], "'other' is not there"),
        (["runs/trial", "no name"], "cannot be a folder's name"),
    ],
)
def test_bad_words_are_one_message_and_leave_no_folder(run, here, words, said):
    refused = calm("export", *words)
    assert refused.exit_code == 2 and said in refused.stderr, refused.output
    assert sorted(path.name for path in here.iterdir()) == ["runs"]


def test_a_calibrated_model_keeps_its_stop_threshold(run, here):
    from calm.config import load_config_file
    from tests.data.clips import make_shards

    shards = make_shards(here / "held_out")
    done = calm("calibrate", run, "--shards", shards, "--batches", 1)
    assert done.exit_code == 0, done.output
    threshold = load_config_file(run / "export/config.yaml").sampler.stop_threshold
    assert f"stop_threshold {threshold:g}" in done.stdout and "8 clips" in done.stdout


def test_the_record_of_the_data_keeps_urls_and_drops_folders_of_this_machine():
    config = load_config(["experiment=tiny", "data.train='https://host/a-{000000..000009}.tar, /here/mine, b-{0,1}.tar'"])
    assert _relocated(config, name="x").data.train == "https://host/a-{000000..000009}.tar,mine,b-{0,1}.tar"
