"""One run of the ablation: trained as `calm train` does it, judged, written down. Finished runs are kept."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from calm.ablation.budget import count_budget
from calm.ablation.held_out import HeldOut
from calm.ablation.plan import AblationPlan, Run
from calm.ablation.results import RunResult, read_result, write_result
from calm.config import RunConfig
from calm.data.shards import ShardSet
from calm.errors import CheckpointError, DataError, InputError
from calm.generation import AudioCALM
from calm.model.trained_vae import load_vae
from calm.training.fit import build_data, device_of, fit
from calm.training.history import read_history

__all__ = ["check_shards", "check_vae", "finished", "seconds_per_step", "train_and_judge"]

#: steps of the trial that `seconds_per_step` takes, and how many of them are warm-up
TRIAL_STEPS, TRIAL_WARM_UP = 12, 4


def check_vae(config: RunConfig) -> None:
    """Raise CheckpointError unless the VAE brings its latent statistics.

    Otherwise every run would measure them on its own clips, and a run of speech alone would be judged on other
    numbers than a mixed one.
    """
    if not load_vae(config.vae_ckpt_path).has_statistics:
        raise CheckpointError(
            "The VAE has no latent statistics",
            where=config.vae_ckpt_path,
            allowed="a VAE exported by `calm train`, which measures them at the end",
        )


def check_shards(config: RunConfig) -> None:
    """Raise DataError where a task has so few clips that the plan of the data would shorten its windows."""
    shards = ShardSet.open(config.data.train_urls)
    least = config.data.batch_size * config.data.source.get("bucket_steps", 1)
    few = [f"{task} {len(rows)}" for task, rows in shards.by_task.items() if len(rows) < least]
    if few:
        raise DataError(
            f"Too few clips to give mixed and single runs the same ones: {', '.join(few)}",
            where=config.data.train_urls,
            allowed=f"{least} of each task: data.batch_size times data.source.bucket_steps",
            hint="set data.source.bucket_steps=1 or a smaller data.batch_size",
        )


def finished(plan: AblationPlan, run: Run) -> RunResult | None:
    """Return the result of a finished run; raises InputError where it is one of another length or of other shards."""
    config = plan.config(run)
    result = read_result(config.run_dir)
    if result is None:
        return None
    if result.step != config.trainer.max_steps or result.shards != _fingerprints(config):
        raise InputError(
            f"The folder holds a run of {result.step} steps, and of other shards perhaps",
            where=config.run_dir,
            allowed=f"{config.trainer.max_steps} steps on the shards of this call",
            hint="give another --out, or the --steps and shards of before",
        )
    return result


def train_and_judge(plan: AblationPlan, run: Run, held_out: HeldOut, *, progress: bool) -> RunResult:
    """Train a run, or go on with it, judge it on the held-out clips, and write its result."""
    config = plan.config(run)
    done = fit(config, progress=progress)
    if done.step != config.trainer.max_steps:
        what = f"The run ended after {done.step} of {config.trainer.max_steps} steps, so it cannot be compared"
        raise InputError(what, where=done.run_dir, hint="trainer.max_minutes must be null")
    root = AudioCALM.from_pretrained(done.export, device="cpu").model
    budget = count_budget(config, build_data(config, root))
    device = device_of(config.trainer)
    result = RunResult(
        step=done.step,
        seconds=max((row[1] for row in read_history(done.run_dir / "history.csv")), default=0.0),
        parameters=sum(p.numel() for p in root.parameters() if p.requires_grad),
        clips=budget.clips,
        frames=budget.frames,
        errors={str(task): held_out.errors(root, config, task, device=device) for task in run.variant.tasks},
        shards=_fingerprints(config),
    )
    write_result(done.run_dir, result)
    return result


def seconds_per_step(plan: AblationPlan) -> float:
    """Return the seconds that a step of the costliest variant takes, by a short trial run that leaves nothing."""
    config = plan.config(next(run for run in plan.runs() if run.variant.name == "symmetric"))
    length = {"max_steps": TRIAL_STEPS, "val_every_steps": 0, "log_every_steps": 1, "prompts": {}}
    plan.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.out, prefix=".trial-") as folder:
        trainer = dataclasses.replace(config.trainer, **length)
        fit(dataclasses.replace(config, run_dir=Path(folder), ckpt_path=None, trainer=trainer), progress=False)
        times = {row[0]: row[1] for row in read_history(Path(folder) / "history.csv")}
    return (times[TRIAL_STEPS] - times[TRIAL_WARM_UP]) / (TRIAL_STEPS - TRIAL_WARM_UP)


def _fingerprints(config: RunConfig) -> list[str]:
    return [ShardSet.open(shards).fingerprint for shards in (config.data.train_urls, config.data.validation)]
