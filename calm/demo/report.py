"""From the demo's ledger to the records that its page shows."""

from __future__ import annotations

from typing import Any

import torch

from calm.audio import write_bytes
from calm.config.records import Reader
from calm.demo.ledger import Ledger
from calm.demo.plan import DemoPlan
from calm.evaluation.machine import describe_machine
from calm.pages.load import curriculum_bands
from calm.pages.records import Clip, Curves, Fact, Overfit, Page, Reconstruction, Stage
from calm.pages.sections import duration

__all__ = ["build_page"]

TITLES = {
    "corpus": "corpus",
    "shards": "shards",
    "vae": "VAE training",
    "generator": "generator training",
    "overfit": "learning by heart",
    "clips": "generation",
}
LEAD = (
    "One causal model that speaks, makes sounds and makes music. Everything here was made on one machine from "
    "nothing: the corpus was synthesised, the VAE and the generator were trained, and the prompts were rendered."
)


def build_page(plan: DemoPlan, ledger: Ledger) -> Page:
    """Return the page of a finished demo; files that lie elsewhere are copied into its folder."""
    found = {name: stage["found"] for name, stage in ledger.stages.items()}
    reader = Reader(lambda _: str(ledger.path))

    def records(schema: type, values: list[Any], where: str) -> tuple[Any, ...]:
        return tuple(reader.record(schema, value, path=where) for value in values)

    config = plan.generator_config()
    vae_history = write_bytes(plan.out / "vae_history.csv", (plan.vae_run / "history.csv").read_bytes())
    return Page(
        title="AudioCALM demo",
        lead=LEAD,
        notes=(_honest_note(ledger),),
        facts=tuple(_facts(plan, ledger)),
        clips=records(Clip, found["clips"]["clips"], "clips"),
        reconstructions=records(Reconstruction, found["clips"]["reconstructions"], "reconstructions"),
        overfit=reader.record(Overfit, found["overfit"]["overfit"], path="overfit"),
        curves=(
            Curves(name="Generator", kind="generator", history="history.csv", bands=curriculum_bands(config)),
            Curves(name="VAE", kind="vae", history=vae_history.name),
        ),
        stages=tuple(
            Stage(name=TITLES.get(name, name), seconds=ledger.seconds(name), note=found[name]["note"]) for name in found
        ),
    )


def _honest_note(ledger: Ledger) -> str:
    vae, generator = (duration(ledger.seconds(name)) for name in ("vae", "generator"))
    return (
        f"Expect rough audio. The VAE was trained for {vae} and the generator for {generator}; systems of this kind "
        "train for days on many GPUs. The voices of the corpus come from a speech synthesiser. The page shows that "
        "every stage works and learns, not how good the method can sound."
    )


def _facts(plan: DemoPlan, ledger: Ledger) -> list[Fact]:
    shards, clips = ledger.stages["shards"]["found"], ledger.stages["clips"]["found"]
    sizes = clips["parameters"]
    steps = {name: ledger.stages[name]["found"]["step"] for name in ("vae", "generator")}
    hours = ", ".join(f"{task} {60 * value:.0f} min" for task, value in shards["hours"].items())
    latents = f"{clips['frame_rate']:g} latents of {clips['latent_dim']} channels per second"
    config = plan.generator_config()
    return [
        Fact(label="generator", value=f"{config.model.name}, {_millions(sizes['generator'])} parameters"),
        Fact(label="VAE", value=f"{config.vae.name}, {_millions(sizes['vae'])} parameters"),
        Fact(label="audio", value=f"{clips['sample_rate'] / 1000:g} kHz; {latents}"),
        Fact(label="corpus", value=f"{hours}; {shards['speakers']} voices"),
        Fact(label="training", value=f"VAE {steps['vae']:,} steps, generator {steps['generator']:,} steps"),
        Fact(label="machine", value=describe_machine()),
        Fact(label="software", value=f"torch {torch.__version__}, threads: {torch.get_num_threads()}"),
        Fact(label="whole demo", value=duration(sum(map(ledger.seconds, ledger.stages)))),
    ]


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
