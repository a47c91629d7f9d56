"""The whole examination: a sound run passes, and whatever is missing is a finding."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config
from calm.doctor import CHECKS, Level, examine


def doctor(*words: str):
    return CliRunner().invoke(app, ["doctor", *words], prog_name="calm")


def test_a_sound_run_has_no_error_and_every_check_says_something(words, tmp_path):
    report = examine(load_config(words))
    assert report.ok, report.of(Level.ERROR)
    assert {finding.check for finding in report.findings} == set(CHECKS)
    assert list(tmp_path.iterdir()) == []


def test_every_error_and_warning_says_what_to_do(light):
    broken = ["vae_ckpt_path=nowhere", "data.validation=nowhere", "trainer.devices=3", "trainer.accelerator=gpu"]
    report = examine(load_config([*light, *broken]))
    assert len(report.of(Level.ERROR)) >= 4
    assert all(finding.hint for level in ("error", "warning") for finding in report.of(level))


@pytest.mark.parametrize("missing", ["data.train", "data.validation", "vae_ckpt_path", "pretrained_ckpt_path"])
def test_a_missing_folder_is_a_finding(light, missing):
    report = examine(load_config([*light, f"{missing}=no_such_folder"]))
    assert any("no_such_folder" in f"{finding.what} {finding.where}" for finding in report.of(Level.ERROR))


def test_damaged_shards_are_a_finding(light, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.tar").write_bytes(b"no archive")
    report = examine(load_config([*light, f"data.train={tmp_path / 'broken'}"]))
    assert "index" in " ".join(finding.what for finding in report.of(Level.ERROR))


def test_a_model_that_cannot_be_built_is_a_finding(light):
    report = examine(load_config([*light, "backbone.num_heads=5"]))
    assert [finding.check for finding in report.of(Level.ERROR)] == ["inputs"]


def test_the_stage_that_trains_a_vae_is_examined_too(shards, tmp_path):
    folders = [f"data.train={shards}", f"data.validation={shards}", f"run_dir={tmp_path / 'run'}"]
    report = examine(load_config(["experiment=tiny_vae", *folders]))
    assert report.ok, report.of(Level.ERROR)
    assert report.size.step_flops > 0 and [engine.strategy for engine in report.size.memory] == ["ddp"]
    assert not [finding for finding in report.of(Level.WARNING) if finding.check == "memory"]


def test_weights_of_a_backbone_that_are_not_on_this_disk_are_a_finding_and_its_size_is_told_all_the_same(light, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", "nowhere")
    report = examine(load_config([*light, "vae_ckpt_path=missing", "backbone=qwen3_0p6b"]))
    told = " ".join(finding.what for finding in report.of(Level.ERROR))
    assert "'Qwen/Qwen3-0.6B' is not on this disk" in told and "missing" in told
    assert report.size.trained > 596_049_920


def test_the_command_shows_a_table_and_leaves_with_0_or_1(words, light, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    good, bad = doctor(*words), doctor(*light, "data.train=no_such_folder")
    assert good.exit_code == 0 and "ready to train" in good.output
    assert bad.exit_code == 1 and "no_such_folder" in bad.output and "calm shards pack" in bad.output


def test_json_holds_the_findings_and_nothing_else(light):
    told = json.loads(doctor(*light, "data.train=no_such_folder", "--json").output)
    assert told["run"] == "tiny" and told["ok"] is False
    assert {"level", "check", "what", "where", "value", "hint"} == set(told["findings"][0])
    assert "error" in {finding["level"] for finding in told["findings"]}
