"""Our VAE against EnCodec's architecture: the same data, losses, batches, latents and processor time.

    python benchmarks/vae_architectures.py --run-dir runs/seanet_vae            # trials, then the run; goes on where it was
    python benchmarks/vae_architectures.py --run-dir runs/seanet_vae --report   # reconstructions of both

Every budget is processor time of one core, so that busy neighbours cost neither of the two anything; --minutes is by
default the wall time that our run took, which is never less than its processor time. What EnCodec's architecture is
allowed beyond that: short trials of three learning rates, and of a second width at the best of them, each with its own
schedule to the end of the trial; the smallest validation loss is taken. Words at the end are settings as `calm train`
takes them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import seanet_vae
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from vae_report import report

from calm.audio import write_bytes
from calm.config import RunConfig, load_config
from calm.data.resume import ResumeCallback
from calm.errors import CalmError, InputError
from calm.model.build import build_model
from calm.part import Part
from calm.training.fit import build_data, train
from calm.training.history import read_history
from calm.training.interruption import Interrupted
from calm.types import Batch, Task

#: EnCodec's own learning rate, that of `mini_vae`, and one as far beyond
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
#: widths nearest to the size of our VAE (4.7 M): 4.0 M, which is quick on a CPU, and 5.0 M
FILTERS = (16, 18)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One finished training: what was chosen, what it cost and what came out. Seconds are processor time."""

    learning_rate: float
    num_filters: int
    steps: int
    cpu_seconds: float
    wall_seconds: float
    #: at the last step; None where it was not finite
    val_loss: float | None

    @property
    def rank(self) -> float:
        return math.inf if self.val_loss is None else self.val_loss


class CpuTime(Callback):
    """Sums this process's processor time in training, validation included, across interruptions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._origin = time.process_time() - self.seconds

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seconds = time.process_time() - self._origin

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = time.process_time() - self._origin

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.seconds = float(state_dict["seconds"])


def config_of(options: argparse.Namespace, folder: Path, *, learning_rate: float, num_filters: int, steps: int = 1) -> RunConfig:
    """`mini_vae` with EnCodec's architecture in place of the VAE."""
    return load_config(
        [
            "experiment=mini_vae",
            f"imports=[{seanet_vae.__name__}]",
            "name=seanet_vae",
            f"run_dir={folder}",
            "ckpt_path=last",
            "vae=seanet_vae",
            f"vae.num_filters={num_filters}",
            f"model.learning_rate={learning_rate}",
            f"trainer.max_steps={steps}",
            f"trainer.val_every_steps={steps // num_validations(steps)}",
            *options.words,
        ]
    )


def num_validations(steps: int) -> int:
    return max(1, steps // 500)


def steps_in(minutes: float, *, seconds_per_step: float) -> int:
    """Steps that take so many minutes, at least one; whole validation intervals, so that the last step is validated."""
    steps = max(1, round(60 * minutes / seconds_per_step))
    return steps // num_validations(steps) * num_validations(steps)


def build_root(config: RunConfig) -> Part:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return build_model(config)


def seconds_per_step(config: RunConfig, *, count: int = 8) -> float:
    """Processor time of one optimizer step on noise, median."""
    root = build_root(config).train()
    optimizer = torch.optim.AdamW(root.parameters(), lr=1e-4)
    size = round(config.data.crop_seconds * root.vae.sample_rate / root.vae.hop) * root.vae.hop
    batch = noise(config.data.batch_size, root.vae.channels, size)
    times = []
    for _ in range(count):
        started = time.process_time()
        optimizer.zero_grad()
        root.losses(batch)["loss"].backward()
        optimizer.step()
        times.append(time.process_time() - started)
    return statistics.median(times)


def noise(count: int, channels: int, size: int) -> Batch:
    nothing = torch.zeros(count, dtype=torch.int64)
    return Batch(
        audio=0.1 * torch.randn(count, channels, size, generator=torch.Generator().manual_seed(0)),
        num_samples=nothing + size,
        complete=nothing.bool(),
        task=nothing + Task.SOUND.id,
        text=nothing[:, None],
        num_text=nothing,
        reference=torch.zeros(count, channels, 0),
        num_reference=nothing,
        keys=("",) * count,
    )


def train_once(options: argparse.Namespace, folder: Path, **choice: Any) -> Trained:
    """Train, or go on training, or read what came out where that is done; the export stays in ``folder``."""
    path = folder / "result.json"
    config = config_of(options, folder, **choice)
    if path.is_file():
        found = Trained(**json.loads(path.read_text(encoding="utf-8")))
        if found.steps != choice["steps"]:
            raise InputError(f"The run is done with {found.steps} steps", where=path, allowed=choice["steps"], hint="another --run-dir")
        return found
    root, spent = build_root(config), CpuTime()
    data = build_data(config, root)
    data.setup("fit")
    result = train(root, data, config=config, callbacks=[ResumeCallback(), spent])
    rows = read_history(folder / "history.csv")
    found = Trained(
        learning_rate=choice["learning_rate"],
        num_filters=choice["num_filters"],
        steps=result.step,
        cpu_seconds=spent.seconds,
        wall_seconds=rows[-1][1],
        val_loss=next((value for step, _, name, value in rows if (step, name) == (result.step, "val/loss")), None),
    )
    write_json(path, asdict(found))
    return found


def make_trials(options: argparse.Namespace, console: Console) -> list[Trained]:
    """Learning rates at the first width, then the other widths at the best rate, all for the same processor time."""
    trials: list[Trained] = []

    def attempt(learning_rate: float, num_filters: int) -> None:
        chosen = {"learning_rate": learning_rate, "num_filters": num_filters}
        folder = options.run_dir / "trials" / f"{num_filters}_{learning_rate:g}"
        plan = remembered(
            options.run_dir / "trials" / f"{num_filters}_plan.json",  # one length for all rates
            lambda: {"steps": steps_in(options.trial_minutes, seconds_per_step=seconds_per_step(config_of(options, folder, **chosen)))},
        )
        trials.append(train_once(options, folder, **chosen, **plan))
        console.print(describe("trial", trials[-1]), highlight=False)

    for rate in options.learning_rates:
        attempt(rate, options.filters[0])
    best = min(trials, key=lambda trial: trial.rank)
    for num_filters in options.filters[1:]:
        attempt(best.learning_rate, num_filters)
    return trials


def remembered(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in a JSON file, made once: a run that is resumed must not measure its length anew."""
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


def describe(what: str, trained: Trained) -> str:
    loss = "not finite" if trained.val_loss is None else f"{trained.val_loss:.4f}"
    return (
        f"{what}: {trained.num_filters} filters, learning rate {trained.learning_rate:g}, {trained.steps} steps in "
        f"{trained.cpu_seconds / 60:.1f} min of processor time: val/loss {loss}"
    )


def run(options: argparse.Namespace, console: Console) -> Trained:
    """Trials, then the run with the best of them for ``minutes``."""
    minutes = minutes_of(options)
    trials = make_trials(options, console)
    best = min(trials, key=lambda trial: trial.rank)
    plan = remembered(
        options.run_dir / "plan.json",
        lambda: {
            "minutes": minutes,
            "steps": steps_in(minutes, seconds_per_step=best.cpu_seconds / best.steps),
            "trials": [asdict(trial) for trial in trials],
        },
    )
    choice = {"learning_rate": best.learning_rate, "num_filters": best.num_filters}
    found = train_once(options, options.run_dir, steps=plan["steps"], **choice)
    console.print(describe("run", found), highlight=False)
    return found


def minutes_of(options: argparse.Namespace) -> float:
    if options.minutes is not None:
        return options.minutes
    rows = read_history(options.ours / "history.csv")
    if not rows or not (options.ours / "export").is_dir():
        raise InputError("Our own run is not finished", where=options.ours, hint="train experiment=mini_vae, or give --minutes")
    return rows[-1][1] / 60


def numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(map(kind, text.split(",")))


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="settings of the training, key=value")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/seanet_vae"))
    parser.add_argument("--ours", type=Path, default=Path("runs/mini_vae"), help="run of experiment=mini_vae")
    parser.add_argument("--minutes", type=float, help="processor time of the run; by default the time that ours took")
    parser.add_argument("--trial-minutes", type=float, default=4.0, help="processor time of each trial")
    parser.add_argument("--learning-rates", type=numbers(float), default=LEARNING_RATES, help="comma-separated")
    parser.add_argument("--filters", type=numbers(int), default=FILTERS, help="the first is the width of the trials of rates")
    parser.add_argument("--report", action="store_true", help="compare the exports of both runs; train nothing")
    parser.add_argument("--corpus", type=Path, default=Path("runs/mini_corpus"), help="folder that `calm corpus` made")
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--real", type=Path, default=Path("../shared/real"), help="AudioFolder of real recordings")
    parser.add_argument("--limit", type=int, default=100, help="clips of each task")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/vae_architectures.json"))
    return parser.parse_intermixed_args(words)


def main(words: list[str] | None = None) -> None:
    console, options = Console(), arguments(words)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report(options, console) if options.report else run(options, console)
    except Interrupted as error:
        console.print(str(error).splitlines()[0] + "; the same command goes on", highlight=False)
        raise SystemExit(130) from None
    except CalmError as error:
        console.print(f"[red]{error}", highlight=False)
        raise SystemExit(1) from None
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
