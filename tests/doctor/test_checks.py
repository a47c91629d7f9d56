"""Single checks: each finds what it is there for."""

from __future__ import annotations

import os
import time

import pytest
from packaging.requirements import Requirement

from calm.config import save_config
from calm.data.encode import encode_shards
from calm.doctor.cost import Rows, step_flops
from calm.doctor.disk import check_disk, checkpoint_bytes
from calm.doctor.finding import Finding, Level
from calm.doctor.folder import check_folder
from calm.doctor.formats import check_formats
from calm.doctor.inputs import check_inputs
from calm.doctor.latents import check_latents
from calm.doctor.machine import check_clock, check_torch
from calm.doctor.shares import check_shares
from calm.doctor.vae import check_vae
from calm.doctor.versions import compare_versions, requirements
from calm.model.trained_vae import load_vae, vae_hash
from calm.training.latents import latent_encoder
from calm.types import Task
from tests.data.clips import make_shards
from tests.factory import tiny_generator

UNTRAINED = ["vae_ckpt_path=null"]


def bad(findings) -> list[Finding]:
    return [finding for finding in findings if finding.level != Level.OK]


def test_a_phase_without_clips_of_a_task_is_an_error(case, tmp_path):
    speech = make_shards(tmp_path, num_sound=0, num_music=0)
    found = bad(check_shares(case(f"data.train={speech}", "data.validation=null")))
    assert [(f.level, f.where) for f in found] == [
        (Level.ERROR, "phase 'joint', sound"),
        (Level.ERROR, "phase 'joint', music"),
    ]


def test_a_limit_that_no_clip_keeps_is_an_error(case):
    phases = "curriculum.phases=[{task_weights: {speech: 1}, max_clip_seconds: {speech: 0.5}}]"
    (found,) = bad(check_shares(case(phases)))
    assert found.level == Level.ERROR and "0.5 s" in found.what


def test_sources_are_named_with_their_shares_of_the_tasks_that_they_hold(case, tmp_path):
    speech, both = make_shards(tmp_path / "a", num_sound=0, num_music=0), make_shards(tmp_path / "b", num_music=0)
    listed = f"[{{name: clean, weight: 3, urls: {speech}}}, {{name: found, urls: {both}}}]"
    run = case(f"data.sources={listed}", "curriculum.phases=[{task_weights: {speech: 1, sound: 1}}]")
    found = {f.what: f.value for f in check_shares(run) if f.where == "data.sources"}
    assert found == {
        "Sources of speech": "clean 75% (8 clips), found 25% (8 clips)",
        "Sources of sound": "found 100% (4 clips)",
    }


def test_shards_of_the_training_that_are_validated_on_are_named(case, shards):
    (found,) = bad(check_inputs(case(f"data.validation={shards}")))
    assert found.level == Level.WARNING and "clips of the training" in found.what and found.where == "data.validation"


def test_a_budget_that_gives_a_rank_no_clip_is_an_error(case):
    (found,) = bad(check_inputs(case("data.max_frames_per_batch=40", "trainer.devices=4")))
    assert found.level == Level.ERROR and "too few for 4 processes" in found.what


def test_a_phase_after_the_end_and_clips_drawn_too_often_are_warnings(case):
    phases = "curriculum.phases=[{name: a, until_step: 100000, task_weights: {speech: 1}}, {name: b}]"
    found = bad(check_shares(case(phases, "trainer.max_steps=5000")))
    assert [f.level for f in found] == [Level.WARNING, Level.WARNING]
    assert "'b'" in found[0].what and "each drawn 2.5e+03 times" in found[1].value


def test_clips_at_another_rate_are_said_to_be_resampled(case):
    low = list(check_formats(case()))
    assert {f.level for f in low} == {Level.WARNING} and "16000 Hz" in low[0].what and "4000 Hz" in low[0].hint
    high = list(check_formats(case("vae=tiny", "vae.sample_rate=4000", *UNTRAINED)))
    assert {f.level for f in high} == {Level.OK} and "resampled to 4000 Hz" in high[0].what


def test_latents_of_another_vae_are_an_error(case, tmp_path):
    vae = load_vae("mini_vae")
    audio = make_shards(tmp_path, num_speech=2, num_sound=2, num_music=2)
    encode_shards(audio, tmp_path / "latents", encoder=latent_encoder(vae))
    latents = [f"data.train={tmp_path / 'latents'}", "data.validation=null"]
    (right,) = check_formats(case(*latents))
    assert right.level == Level.OK and vae_hash(vae)[:12] in right.value
    (wrong,) = check_formats(case(*latents, *UNTRAINED))
    assert wrong.level == Level.ERROR and vae_hash(vae)[:12] in wrong.what
    assert not bad(check_latents(case(*latents)))
    assert "hash" in next(iter(check_vae(case(*latents)))).what


def test_an_untrained_vae_is_an_error_and_a_trained_one_is_not(case):
    assert not bad(check_vae(case()))
    no_statistics, untrained = check_vae(case("vae=tiny", *UNTRAINED))
    assert no_statistics.level == Level.WARNING and untrained.level == Level.ERROR


@pytest.mark.parametrize("spoil", [lambda vae: vae.latent_mean.add_(3 * vae.latent_std), lambda vae: vae.latent_std.mul_(9)])
def test_statistics_that_are_not_of_these_latents_are_an_error(case, spoil):
    run = case()
    assert not bad(check_latents(run))
    spoil(run.generator.vae)
    (found,) = bad(check_latents(run))
    assert found.level == Level.ERROR and found.where == "latents"


def test_batch_shards_and_clips_must_suffice_for_the_ranks(case):
    (uneven,) = bad(check_inputs(case("trainer.devices=3")))
    assert uneven.level == Level.ERROR and uneven.where == "data.batch_size"
    (few,) = bad(check_inputs(case("data.batch_size=64")))
    assert few.level == Level.WARNING
    stream = "data.source={name: webdataset}"
    assert not bad(check_inputs(case(stream, "data.num_workers=3")))
    (streamed,) = bad(check_inputs(case(stream, "data.num_workers=4")))
    assert streamed.level == Level.WARNING and "3 shards" in streamed.what


def test_speech_that_is_cut_below_its_words_is_a_warning(case):
    longest = max(case().seconds_of(Task.SPEECH))
    found = bad(check_inputs(case(f"data.max_seconds={longest / 2}")))
    assert [(finding.level, finding.where) for finding in found] == [(Level.WARNING, "data.max_seconds")]
    assert "keep all their words" in found[0].what


def test_devices_that_are_not_here_are_errors(case):
    (flex,) = bad(check_torch(case("model.attention=flex")))
    assert flex.level == Level.ERROR and flex.where == "model.attention"


def test_a_cpu_that_does_not_multiply_in_bfloat16_is_a_warning(case, monkeypatch):
    monkeypatch.setattr("calm.doctor.machine.has_fast_bfloat16", lambda device: False)
    (slow,) = bad(check_torch(case("trainer.precision=bf16-mixed")))
    assert slow.level == Level.WARNING and "trainer.precision=auto" in slow.hint
    assert not bad(check_torch(case("trainer.precision=auto")))


def test_a_clock_behind_the_shards_is_a_warning(case, tmp_path):
    folder = make_shards(tmp_path)
    assert not bad(check_clock(case(f"data.train={folder}")))
    future = time.time() + 3600
    os.utime(next(folder.glob("*.index.jsonl")), (future, future))
    (found,) = bad(check_clock(case(f"data.train={folder}")))
    assert found.level == Level.WARNING and found.where.endswith(".index.jsonl")


def test_missing_and_other_versions_are_found():
    wanted = [Requirement(line) for line in ("numpy>=2", "numpy>=99", "no-such-library>=1")]
    old, missing = compare_versions(wanted)
    assert old.level == Level.WARNING and "numpy>=99" in old.hint
    assert missing.level == Level.ERROR and "missing" in missing.what
    assert {"torch", "lightning"} <= {one.name for one in requirements()}


def test_a_folder_with_another_run_is_an_error(case, tmp_path):
    run = case()
    save_config(run.config, run.config.run_dir / "config.yaml")
    assert not bad(check_folder(run))
    (other,) = bad(check_folder(case("optim.learning_rate=0.5")))
    assert other.level == Level.ERROR and "optim.learning_rate" in other.value
    (run.config.run_dir / "checkpoints").mkdir()
    (run.config.run_dir / "checkpoints" / "last.ckpt").touch()
    (taken,) = bad(check_folder(case()))
    assert "ckpt_path=last" in taken.hint
    assert not bad(check_folder(case("ckpt_path=last")))


def test_a_disk_too_small_for_the_checkpoints_is_an_error(case, monkeypatch):
    run = case()
    assert not bad(check_disk(run))
    small = type("Usage", (), {"free": checkpoint_bytes(run.root)})()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: small)
    (found,) = bad(check_disk(run))
    assert found.level == Level.ERROR


def test_work_is_six_times_weights_times_rows_and_attention_comes_on_top():
    root = tiny_generator(expert="none")
    matrices = sum(p.numel() for p in root.backbone.layers.parameters() if p.ndim == 2)
    rows = Rows(sequence=10.0, audio=0.0, clean=0.0, noisy=0.0, blocks=0.0, expert=0.0)
    attention = 12 * 3 * 16 * 10.0**2
    assert step_flops(root, rows, clips=2) == pytest.approx(2 * (6 * matrices * 10 + attention))
