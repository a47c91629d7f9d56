"""The work of each stage of the demo. A stage returns what the page needs to know of it, as JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from calm.demo.by_heart import learn_by_heart
from calm.demo.listen import render_prompt, render_reconstruction, warm_up
from calm.demo.overfit import OverfitCheck
from calm.demo.plan import PROMPTS, DemoPlan
from calm.errors import DataError
from calm.types import TASKS

__all__ = ["Stages"]

Found = Mapping[str, Any]


class Stages:
    """The stages of one plan. Each may be called again after an interruption."""

    def __init__(self, plan: DemoPlan, *, console: Console) -> None:
        self.plan, self.console = plan, console

    def corpus(self) -> Found:
        """Synthesise the corpus; a folder that is there is complete, because it appears in one step."""
        from calm.corpus import generate_corpus

        if not self.plan.corpus.exists():
            generate_corpus(self.plan.corpus, seconds=self.plan.seconds_of_corpus, seed=0, console=self.console)
        return {"note": f"about {self.plan.seconds_of_corpus:,.0f} s of audio"}

    def shards(self) -> Found:
        """Pack the corpus and verify every byte of the shards."""
        from calm.data.check import check
        from calm.data.pack import pack

        with Progress(
            TextColumn("packing"), BarColumn(), MofNCompleteColumn(), console=self.console, transient=True
        ) as bar:
            row = bar.add_task("", total=None)
            if not self.plan.shards.exists():
                pack(
                    self.plan.corpus,
                    self.plan.shards,
                    progress=lambda done, total, _: bar.update(row, completed=done, total=total),
                )
        report = check(self.plan.shards)
        if not report.ok:
            problem = report.problems[0]
            raise DataError(
                f"{len(report.problems)} problems in the shards, first: {problem.reason}",
                where=f"{problem.shard}: {problem.key}",
                hint=f"delete {self.plan.shards} and run the demo again",
            )
        hours = {task: round(value, 4) for task, value in report.hours.items()}
        note = f"{report.clips:,} clips, {len(report.speakers)} voices, no problems"
        return {"note": note, "hours": hours, "clips": report.clips, "speakers": len(report.speakers)}

    def vae(self) -> Found:
        """Train the VAE."""
        from calm.training.fit import fit

        result = fit(self.plan.vae_config())
        return {"note": f"{result.step:,} steps", "step": result.step}

    def generator(self) -> Found:
        """Train the generator on the VAE's latents, from the curriculum's first phase to its last."""
        from calm.training.fit import fit

        result = fit(self.plan.generator_config())
        return {"note": f"{result.step:,} steps", "step": result.step}

    def overfit(self) -> Found:
        """Learn one clip of each task by heart and sample it back."""
        found = learn_by_heart(self.plan, on_check=self._report_check)
        errors = ", ".join(f"{pair.task} {pair.nmse:.3f}" for pair in found.pairs)
        return {"note": f"NMSE {errors} after {found.step:,} steps", "overfit": dataclasses.asdict(found)}

    def clips(self) -> Found:
        """Generate the prompts, and send held-out recordings through the VAE."""
        from calm.data.shards import ShardSet
        from calm.generation import AudioCALM

        pipeline = AudioCALM.from_pretrained(self.plan.out, device="cpu")
        warm_up(pipeline)
        clips = []
        for seed, prompt in enumerate(PROMPTS):
            path = self.plan.out / "clips" / f"{prompt.task}-{seed}.wav"
            clips.append(render_prompt(pipeline, prompt, path, seed=seed))
            speed = f"RTF {clips[-1].rtf:.2f}, first audio after {1000 * clips[-1].first_audio_seconds:.0f} ms"
            self.console.print(f"  {prompt.task}: {prompt.text} {speed}", markup=False, soft_wrap=True)
        held_out = ShardSet.open(self.plan.shards / "validation")
        folder = self.plan.out / "recordings"
        pairs = [
            render_reconstruction(pipeline.model.vae, held_out, task, folder, model=pipeline.name)
            for task in TASKS
            if held_out.by_task[task]
        ]
        sizes = {"vae": _size(pipeline.model.vae), "generator": _size(pipeline.model) - _size(pipeline.model.vae)}
        return {
            "note": f"{len(clips)} clips, RTF {min(c.rtf for c in clips):.2f} to {max(c.rtf for c in clips):.2f}",
            "clips": [dataclasses.asdict(clip) for clip in clips],
            "reconstructions": [dataclasses.asdict(pair) for pair in pairs],
            "parameters": sizes,
            "sample_rate": pipeline.sample_rate,
            "frame_rate": pipeline.model.vae.frame_rate,
            "latent_dim": pipeline.model.vae.latent_dim,
        }

    def _report_check(self, check: OverfitCheck) -> None:
        errors = "  ".join(f"{value:.3f}" for value in check.nmse)
        self.console.print(f"  step {check.step:>5}  loss {check.loss:.3f}  NMSE {errors}")


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
