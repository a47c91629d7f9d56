"""The real thing, small: shards -> VAE stage -> latent statistics -> generator, interrupted, resumed, rendered."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from calm import audio
from calm.config import load_config
from calm.errors import CheckpointError, ConfigError
from calm.generation import AudioCALM
from calm.training import fit as fit_module
from calm.training.checkpoint_io import read_checkpoint
from calm.training.fit import fit
from calm.training.history import read_history
from calm.training.interruption import Interrupted
from tests.data.clips import make_shards

PHASES = (
    "curriculum.phases=[{name: shared, until_step: 2, expert: 'off'}, {name: joint, expert: 'on', lr_factors: {backbone: 0.5}}]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    make_shards(folder)
    return folder


def tiny(folder, name, *overrides):
    shards = folder / "shards"
    return load_config(
        [
            "experiment=tiny",
            f"name={name}",
            f"run_dir={folder / name}",
            f"data.train={shards}",
            f"data.validation={shards}",
            "trainer.log_every_steps=1",
            "data.source={name: planned, bucket_steps: 1}",
            *overrides,
        ]
    )


@pytest.fixture(scope="module")
def vae_run(folder):
    settings = ("model=vae_stage", "trainer.max_steps=3", "trainer.val_every_steps=2", "adversary=none")
    sizes = ("model.crop_seconds=0.5", "data.crop_seconds=0.5", "model.loss_n_ffts=[256,128]", "data.reference_probability=0.0")
    parts = ("backbone=none", "head=none", "expert=none")
    return fit(tiny(folder, "vae", *settings, *sizes, *parts), progress=False)


def generator_config(folder, vae_run, name, *overrides):
    fixed = (f"vae_ckpt_path={vae_run.export}", "trainer.max_steps=4", "trainer.save_every_steps=2", "trainer.sample_seconds=0.5")
    fixed = (*fixed, "trainer.metrics=[wer]")
    return tiny(folder, name, PHASES, *fixed, "trainer.val_every_steps=2", "sampler.num_steps=2", *overrides)


@pytest.fixture(scope="module")
def straight(folder, vae_run):
    return fit(generator_config(folder, vae_run, "straight"), progress=False)


def test_the_vae_stage_exports_weights_with_latent_statistics(vae_run):
    weights = load_file(vae_run.export / "model.safetensors")
    assert int(weights["vae.statistics_frames"]) > 0
    assert (weights["vae.latent_std"] != 1).all()
    names = {name for _, _, name, _ in read_history(vae_run.run_dir / "history.csv")}
    assert {"train/loss", "train/mel", "val/loss", "val/mel/speech"} <= names


def test_the_generator_logs_losses_by_task_and_noise_level(straight):
    rows = read_history(straight.run_dir / "history.csv")
    names = {name for _, _, name, _ in rows}
    assert {"train/flow_speech", "train/flow_sound", "train/flow_music", "train/stop", "train/grad_norm", "time/data_wait"} <= names
    assert {"val/flow/speech", "val/flow/sound", "val/flow/music"} <= names
    assert any(name.startswith("val/flow/speech/t") for name in names)
    assert {step: value for step, _, name, value in rows if name == "phase"} == {1: 0, 2: 0, 3: 1, 4: 1}


def test_fixed_prompts_are_rendered_at_each_checkpoint_with_their_origin(straight):
    for step in (2, 4):
        for task in ("speech", "sound", "music"):
            path = straight.run_dir / "samples" / f"step-{step:08d}" / f"{task}-0.wav"
            assert audio.info(path).seconds > 0
            assert audio.read_provenance(path).task == task
            assert f"step {step}" in audio.read_provenance(path).model


def test_rendered_prompts_are_scored_by_the_metrics_that_the_config_names(straight):
    rows = read_history(straight.run_dir / "history.csv")
    found = {(step, name) for step, _, name, _ in rows if name.startswith("samples/")}
    assert found == {(step, f"samples/speech/{key}") for step in (2, 4) for key in ("wer", "wer_pooled")}


def test_the_export_is_loaded_by_its_users(straight):
    clip = AudioCALM.from_pretrained(straight.export, device="cpu").generate("rain", task="sound", duration=0.5)[0]
    assert clip.audio.shape[-1] == clip.sample_rate // 2


def losses_of(run):
    rows = read_history(run.run_dir / "history.csv")
    return sorted((step, *row) for step, _, *row in rows if not row[0].startswith(("samples/", "time/")))


def clips_of(run):
    folder = run.run_dir / "samples"
    return {str(path.relative_to(folder)): audio.read(path).audio for path in folder.rglob("*.wav")}


def test_the_real_model_interrupted_and_resumed_equals_straight_to_the_bit(folder, vae_run, straight, monkeypatch):
    # Their clips are compared, not their scores, which follow from the clips.
    unscored = "trainer.metrics=[]"
    config = generator_config(folder, vae_run, "broken", unscored)
    build = fit_module.build_model

    def build_interrupted(config):
        root = build(config)
        losses = root.losses

        def signalling(batch, **options):
            if root.training and root.global_step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return losses(batch, **options)

        root.losses = signalling
        return root

    monkeypatch.setattr(fit_module, "build_model", build_interrupted)
    with pytest.raises(Interrupted, match="after step 3"):
        fit(config, progress=False)
    monkeypatch.undo()
    resumed = fit(generator_config(folder, vae_run, "broken", unscored, "ckpt_path=last"), progress=False)
    ours, theirs = load_file(straight.export / "model.safetensors"), load_file(resumed.export / "model.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    first, second = (read_checkpoint(run.run_dir / "checkpoints" / "last.ckpt") for run in (straight, resumed))
    assert all(torch.equal(tensor, second["state_dict"][name]) for name, tensor in first["state_dict"].items())
    assert losses_of(straight) == losses_of(resumed)
    first, second = (clips_of(run) for run in (straight, resumed))
    assert len(first) == 6 and first.keys() == second.keys()
    assert all(torch.equal(clip, second[name]) for name, clip in first.items())


def test_after_a_run_signals_do_what_they_did_before_it(folder, vae_run):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    short = ("trainer.max_steps=1", "trainer.val_every_steps=0", "trainer.prompts={}")
    fit(generator_config(folder, vae_run, "signals", *short), progress=False)
    assert [signal.getsignal(number) for number in numbers] == before


def test_the_frozen_vae_is_not_trained(vae_run, straight):
    before, after = load_file(vae_run.export / "model.safetensors"), load_file(straight.export / "model.safetensors")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name.startswith("vae."))


def test_resuming_on_other_data_is_refused(folder, vae_run, straight):
    other = make_shards(folder / "other", num_speech=3)
    with pytest.raises(CheckpointError, match="fingerprint"):
        fit(generator_config(folder, vae_run, "straight", "ckpt_path=last", f"data.train={other}"), progress=False)


def test_resuming_with_other_choices_is_refused_with_the_key(folder, vae_run, straight):
    with pytest.raises(ConfigError, match=r"optim\.weight_decay"):
        fit(generator_config(folder, vae_run, "straight", "ckpt_path=last", "optim.weight_decay=0.3"), progress=False)
