"""The whole ablation on a tiny corpus: trained, judged, reported, interrupted, resumed."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import json
import shutil

import pytest
import torch
from rich.console import Console

from calm.ablation import AblationPlan, run_ablation
from calm.ablation import run as run_module
from calm.ablation.held_out import HeldOut
from calm.ablation.plan import VARIANTS, Run
from calm.ablation.results import read_result
from calm.ablation.train import finished, seconds_per_step, train_and_judge
from calm.config import load_config
from calm.errors import CheckpointError, DataError, InputError
from calm.generation import AudioCALM
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.types import TASKS, Task
from tests.data.clips import make_shards

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards, an untrained VAE with statistics, and one without."""
    folder = tmp_path_factory.mktemp("ablation")
    make_shards(folder)
    config = load_config(["model=vae_stage", "vae=tiny", "adversary=none"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        root = build_model(config)
    save_pretrained(folder / "bare", model=root, config=config)
    sums = torch.stack([torch.zeros(root.vae.latent_dim), 100 * torch.ones(root.vae.latent_dim)]).double()
    root.vae.set_statistics(*sums, 100)
    save_pretrained(folder / "vae", model=root, config=config)
    return folder


def plan(folder, out="out", *overrides, vae="vae", **options):
    words = (f"vae_ckpt_path={folder / vae}", f"data.train={folder / 'shards'}", f"data.validation={folder / 'shards'}")
    words += ("data.batch_size=3", "data.max_seconds=0.5", "trainer.max_minutes=null", "trainer.prompts={}")
    words += ("trainer.val_every_steps=0", "trainer.num_noise_bins=3", "data.source.bucket_steps=1")
    given = {"experiment": "tiny", "num_seeds": 1, "steps": 2, "clips": 3, **options}
    return AblationPlan(out=folder / out, overrides=(*words, *overrides), **given)


@pytest.fixture(scope="module")
def done(folder):
    made = plan(folder)
    page = run_ablation(made, console=QUIET, progress=False)
    return made, page


def test_it_ends_with_a_page_a_table_and_the_numbers(done):
    made, page = done
    found = json.loads((made.out / "results.json").read_text())
    assert len(found["runs"]) == 12 and len(found["errors"]) == 4 * 2 * 3
    assert len(found["differences"]) == 5 * 2 * 3 + 4 * 3
    assert all(0 < cell["figure"]["value"] < 20 for cell in found["errors"])
    text, document = (made.out / "results.txt").read_text(), page.read_text()
    for variant in VARIANTS[3:]:
        assert variant.title in text and variant.title in document
    parser = html.parser.HTMLParser()
    parser.feed(document)
    assert "http" not in document.replace("http-equiv", "") and document.count("<svg") == 5


def test_every_run_is_a_run_folder_of_calm_train(done):
    made, _ = done
    for run in made.runs():
        folder = made.out / "runs" / run.name
        config = load_config([f"config={folder / 'config.yaml'}"])
        assert config.name == run.name and (folder / "export" / "model.safetensors").is_file()


def test_a_task_gets_as_many_clips_and_frames_alone_as_in_the_mix(done):
    made, _ = done
    results = {run.variant.name: finished(made, run) for run in made.runs() if run.style == "raw"}
    for task in map(str, TASKS):
        assert results[task].clips[task] == results["mixed"].clips[task] == 2
        assert results[task].frames[task] == results["mixed"].frames[task] > 0
        assert sum(results[task].frames.values()) == results[task].frames[task]
    assert set(results["sound"].errors) == {"sound"} and set(results["amome"].errors) == set(map(str, TASKS))


def test_experts_start_from_the_same_weights_and_change_nothing_but_their_tasks(done):
    """After two steps from equal starts, a task without an expert differs only through the shared weights."""
    made, _ = done
    results = {run.variant.name: finished(made, run) for run in made.runs() if run.style == "raw"}
    mixed, amome = (results[name].errors["sound"] for name in ("mixed", "amome"))
    assert mixed.keys == amome.keys and mixed.frames == amome.frames
    close = torch.tensor(mixed.error), torch.tensor(amome.error)
    torch.testing.assert_close(*close, rtol=0.02, atol=0)
    assert results["symmetric"].parameters > results["amome"].parameters > results["mixed"].parameters


def test_a_second_start_trains_nothing_and_reports_the_same(done, monkeypatch):
    made, page = done
    before = {name: (made.out / name).read_bytes() for name in ("results.json", "index.html")}
    monkeypatch.setattr(run_module, "train_and_judge", lambda *a, **k: pytest.fail("a finished run was trained again"))
    assert run_ablation(dataclasses.replace(made, steps=None), console=QUIET, progress=False) == page
    assert before == {name: (made.out / name).read_bytes() for name in before}


def test_a_run_that_was_trained_and_not_judged_is_judged_to_the_same_numbers(done, folder):
    made, _ = done
    run = made.runs()[5]
    first = finished(made, run)
    copy = dataclasses.replace(made, out=folder / "copy")
    shutil.copytree(made.out / "runs" / run.name, copy.out / "runs" / run.name)
    (copy.out / "runs" / run.name / "held_out.json").unlink()
    assert finished(copy, run) is None
    base = made.base()
    held_out = HeldOut(base.data.validation, clips=made.clips, num_bins=base.trainer.num_noise_bins)
    again = train_and_judge(copy, run, held_out, progress=False)
    assert again.errors == first.errors and again == read_result(copy.out / "runs" / run.name)


def test_the_errors_do_not_depend_on_the_other_tasks_and_match_the_losses_of_the_model(done, folder):
    """The summed errors over all clips of a task are those that the model itself reports for these batches."""
    made, _ = done
    run = Run(variant=VARIANTS[3], style="raw", seed=0)
    config = made.config(run)
    root = AudioCALM.from_pretrained(config.run_dir, device="cpu").model
    held_out = HeldOut(config.data.validation, clips=3, num_bins=3)
    found = held_out.errors(root, config, Task.SOUND, device=torch.device("cpu"))
    assert len(found.keys) == 3 and all(key.startswith("sound") for key in found.keys)
    batch = next(held_out._batches(root, config, Task.SOUND))
    terms = root.flow_terms(batch, torch.Generator().manual_seed(0))
    num_valid = terms.valid.sum(-1) * terms.error.shape[1]
    assert [sum(row) for row in found.frames] == (4 * num_valid).tolist()


def test_an_ablation_of_other_settings_is_refused_in_the_same_folder(done):
    made, _ = done
    with pytest.raises(InputError, match="2 steps, not 3"):
        run_ablation(dataclasses.replace(made, steps=3), console=QUIET)
    with pytest.raises(InputError, match="other settings: clips"):
        run_ablation(dataclasses.replace(made, clips=2), console=QUIET)


def test_an_interruption_keeps_what_is_finished_and_says_how_to_go_on(folder, monkeypatch):
    console, made = Console(file=io.StringIO()), plan(folder, "interrupted")

    def train(plan, run, held_out, *, progress):
        if run.variant.name == "sound":
            raise KeyboardInterrupt
        return train_and_judge(plan, run, held_out, progress=progress)

    monkeypatch.setattr(run_module, "train_and_judge", train)
    with pytest.raises(KeyboardInterrupt):
        run_ablation(made, console=console, progress=False)
    assert "run the same command again" in console.file.getvalue()
    assert finished(made, made.runs()[0]) and not finished(made, made.runs()[1])


def test_a_vae_without_statistics_is_refused_before_anything_is_written(folder):
    with pytest.raises(CheckpointError, match="no latent statistics"):
        run_ablation(plan(folder, "bare-out", vae="bare"), console=QUIET)
    assert not (folder / "bare-out").exists()


def test_too_few_clips_for_equal_shares_are_refused(folder):
    with pytest.raises(DataError, match="Too few clips"):
        run_ablation(plan(folder, "few", "data.batch_size=12"), console=QUIET)


def test_minutes_become_steps_by_a_trial_that_leaves_nothing(folder):
    made = plan(folder, "timed", steps=None)
    assert 0 < seconds_per_step(made) < 60
    assert list(made.out.iterdir()) == []
