"""Which runs an ablation consists of, and what they share.

Equal budget: every run takes the same number of optimizer steps, and a run of one task alone takes a third of
the mixed batch. As the data's plan draws each task's clips in an order of its own, both see the same clips of
that task, with the same excerpts, references and descriptions; the mixed run sees the other tasks' beside them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from calm.config import RunConfig, load_config
from calm.errors import ConfigError
from calm.text.description import STYLES
from calm.types import TASKS, Task

__all__ = ["SINGLE", "VARIANTS", "AblationPlan", "Run", "Variant"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train: on ``tasks``, with the option ``expert`` of the expert group. ``title`` stands in the report."""

    name: str
    title: str
    expert: str
    tasks: tuple[Task, ...] = TASKS


#: stands for the three single-task variants where they are one column: each task's error comes from its own run
SINGLE = "single"

VARIANTS: tuple[Variant, ...] = (
    *(Variant(name=str(task), title=f"{task} alone", expert="none", tasks=(task,)) for task in TASKS),
    Variant(name="mixed", title="mixed, no expert", expert="none"),
    Variant(name="symmetric", title="mixed, symmetric experts", expert="symmetric"),
    Variant(name="amome", title="mixed, A-MoME", expert="speech_ffn"),
)

#: keys that make up the comparison, and what sets them
RESERVED = {
    "experiment": "--experiment",
    "config": "--experiment",
    "name": "--out",
    "run_dir": "--out",
    "seed": "--seeds",
    "ckpt_path": "--out: an interrupted ablation goes on by itself",
    "expert": "conf/expert/symmetric.yaml and speech_ffn.yaml; expert.width_ratio=... and expert.layers=... are taken",
    "data.text_style": "the runs themselves",
    "trainer.max_steps": "--steps or --minutes",
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of the ablation."""

    variant: Variant
    style: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.style}-{self.variant.name}-seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """Settings and folders of one ablation.

    Args:
        out: the folder of everything it writes; the runs lie in ``out/runs``.
        experiment: an option of ``conf/experiment``. overrides: further words of `calm train`.
        num_seeds: seeds 0, 1, ... of every variant.
        steps: optimizer steps of every run; None takes them from the experiment.
        clips: most held-out clips of each task on which the runs are judged.
    """

    out: Path
    experiment: str = "ablate"
    overrides: tuple[str, ...] = ()
    num_seeds: int = 2
    steps: int | None = None
    clips: int = 100

    def __post_init__(self) -> None:
        for word in self.overrides:
            key = word.partition("=")[0]
            if key in RESERVED:
                raise ConfigError(f"'{key}' differs between the runs", where=f"command line: {word}", hint=f"set by {RESERVED[key]}")
        for key, given in (("num_seeds", self.num_seeds), ("steps", self.steps), ("clips", self.clips)):
            if given is not None and given < 1:
                raise ConfigError(f"{key} is {given}", where=f"--{key.removeprefix('num_')}", allowed="1 or more")

    def settings(self) -> dict[str, object]:
        """What must not change between two starts of the same ablation; more seeds may be added."""
        return {"experiment": self.experiment, "overrides": list(self.overrides), "clips": self.clips}

    def runs(self) -> list[Run]:
        """All runs, one seed after the other: what is finished first is a whole comparison."""
        return [
            Run(variant=variant, style=style, seed=seed)
            for seed in range(self.num_seeds)
            for style in STYLES
            for variant in VARIANTS
        ]

    def base(self) -> RunConfig:
        """The configuration of the mixed runs without an expert; raises ConfigError where it allows no fair comparison."""
        config = self._load(Run(variant=VARIANTS[len(TASKS)], style=STYLES[0], seed=0))
        _check(config)
        return config

    def config(self, run: Run) -> RunConfig:
        """The configuration of one run; it continues where an earlier start was interrupted."""
        config = self._load(run)
        if run.variant.tasks == TASKS:
            return config
        weights = {str(task): 1.0 for task in run.variant.tasks}
        phases = [dataclasses.replace(phase, task_weights=weights) for phase in config.curriculum.phases]
        name = f"{config.curriculum.name}_{run.variant.name}"
        share = len(run.variant.tasks) / len(TASKS)
        return dataclasses.replace(
            config,
            curriculum=dataclasses.replace(config.curriculum, name=name, phases=phases),
            data=dataclasses.replace(config.data, batch_size=round(config.data.batch_size * share)),
        )

    def _load(self, run: Run) -> RunConfig:
        has_expert = run.variant.expert != "none"
        words = [word for word in self.overrides if has_expert or not word.startswith("expert.")]
        words += [f"expert={run.variant.expert}", f"data.text_style={run.style}", f"seed={run.seed}"]
        words += [f"name={run.name}", f"run_dir={self.out / 'runs' / run.name}", "ckpt_path=last"]
        if self.steps is not None:
            words.append(f"trainer.max_steps={self.steps}")
        return load_config([f"experiment={self.experiment}", *words])


def _check(config: RunConfig) -> None:
    """Raise ConfigError unless runs of this configuration can be compared."""
    for fits, what, where, allowed in (
        (config.model.name != "vae_stage", "An ablation compares generators", "model", "ar_flow or head_flow"),
        (config.trainer.max_minutes is None, "A time limit would end the runs at different steps", "trainer.max_minutes", "null"),
        (
            config.vae_ckpt_path is not None,
            "Without a trained VAE every run would have latents of its own",
            "vae_ckpt_path",
            "the export of a VAE",
        ),
        (config.data.validation is not None, "There are no held-out clips", "data.validation", "a folder of shards"),
        (
            config.data.batch_size % len(TASKS) == 0,
            f"A batch of {config.data.batch_size} clips has no equal shares",
            "data.batch_size",
            f"a multiple of {len(TASKS)}",
        ),
        (
            config.data.max_frames_per_batch is None,
            "A budget of frames gives mixed and single runs other clips",
            "data.max_frames_per_batch",
            "null",
        ),
        (
            config.data.source.get("name") == "planned",
            f"The source '{config.data.source.get('name')}' promises no order of the clips",
            "data.source.name",
            "planned",
        ),
    ):
        if not fits:
            raise ConfigError(what, where=where, allowed=allowed)
    _check_windows(config)
    for phase in config.curriculum.phases:
        if len({phase.task_weights.get(str(task), 0.0) for task in TASKS}) > 1:
            raise ConfigError(
                f"Phase '{phase.name}' gives the tasks unequal shares",
                where="curriculum.phases",
                allowed="equal task_weights, so that mixed and single runs see the same clips of a task",
            )


def _check_windows(config: RunConfig) -> None:
    """The plan of the data sorts whole windows of steps by length: half a window would hold the short clips of one run."""
    window = config.data.source.get("bucket_steps", 1)
    if config.trainer.max_steps % window:
        raise ConfigError(
            f"{config.trainer.max_steps} steps end within a window of {window} steps that are sorted by length",
            where="--steps",
            allowed=f"a multiple of data.source.bucket_steps: {window}",
            hint=f"--steps {-(-config.trainer.max_steps // window) * window}, or data.source.bucket_steps=1",
        )
