"""What the demo does, and where everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calm.config import RunConfig, load_config
from calm.types import Task

__all__ = ["PROMPTS", "DemoPlan", "DemoPrompt"]

#: share of the time that each of the two trainings gets, where the demo's length is given
VAE_SHARE, GENERATOR_SHARE = 0.35, 0.4
#: a model that is small enough to learn three clips by heart within a minute
OVERFIT_MODEL = (
    "model.num_noisy_copies=4",
    "backbone.dim=96",
    "backbone.num_layers=3",
    "backbone.num_heads=4",
    "backbone.num_kv_heads=4",
    "backbone.ffn_dim=288",
)


@dataclass(frozen=True, kw_only=True)
class DemoPrompt:
    """A prompt of the page. ``duration`` in seconds; None lets the model end by itself."""

    task: Task
    text: str
    duration: float | None = None
    voice: str | None = None


PROMPTS: tuple[DemoPrompt, ...] = (
    DemoPrompt(task=Task.SPEECH, text="The train to the coast leaves in an hour."),
    DemoPrompt(task=Task.SPEECH, text="We will meet again tomorrow.", voice="a low-pitched male voice"),
    DemoPrompt(task=Task.SOUND, text="A bell rings twice, then rain falls.", duration=4.0),
    DemoPrompt(task=Task.SOUND, text="A clock ticks while the wind blows.", duration=4.0),
    DemoPrompt(task=Task.MUSIC, text="A calm piano melody, slow and warm.", duration=5.0),
    DemoPrompt(task=Task.MUSIC, text="A happy folk tune for solo guitar.", duration=5.0),
)


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """Settings and folders of one demo.

    Args:
        out: the demo's folder, which is the generator's run folder as well.
        minutes: about how long everything may take; None leaves the limits of the two trainings as configured.
        seconds_of_corpus: length of the synthetic corpus.
        overfit_seconds: longest time for learning three clips by heart.
        overrides: further words of `calm train`, for both trainings.
    """

    out: Path
    minutes: float | None = None
    seconds_of_corpus: float = 2400.0
    overfit_seconds: float = 75.0
    overrides: tuple[str, ...] = ()

    @property
    def corpus(self) -> Path:
        return self.out / "corpus"

    @property
    def shards(self) -> Path:
        return self.out / "shards"

    @property
    def vae_run(self) -> Path:
        """The VAE's run folder, a neighbour of the generator's: ``experiment=demo`` looks for it there."""
        return self.out.with_name(f"{self.out.name}_vae")

    def settings(self) -> dict[str, object]:
        """What must not change between two starts of the same demo."""
        return {"seconds_of_corpus": self.seconds_of_corpus, "overrides": list(self.overrides)}

    def vae_config(self) -> RunConfig:
        """Configuration of the first training; it continues where an earlier start was interrupted."""
        return load_config([*self._common("demo_vae", VAE_SHARE), f"run_dir={self.vae_run}", "ckpt_path=last"])

    def generator_config(self) -> RunConfig:
        """Configuration of the second training."""
        return load_config([*self._generator(), f"run_dir={self.out}", "ckpt_path=last"])

    def overfit_config(self) -> RunConfig:
        """Configuration of the small model that learns three clips by heart."""
        return load_config([*self._generator(), *OVERFIT_MODEL])

    def _generator(self) -> list[str]:
        return [*self._common("demo", GENERATOR_SHARE), f"vae_ckpt_path={self.vae_run / 'export'}"]

    def _common(self, experiment: str, share: float) -> list[str]:
        words = [f"experiment={experiment}"]
        words += [f"data.train={self.shards / 'train'}", f"data.validation={self.shards / 'validation'}"]
        if self.minutes is not None:
            words.append(f"trainer.max_minutes={share * self.minutes:.3f}")
        return [*words, *self.overrides]
