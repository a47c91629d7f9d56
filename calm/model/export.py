"""A run's weights made small enough to ship, and the proof that they still compute the same."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calm.config import RunConfig, split_sources
from calm.errors import CheckpointError, InputError
from calm.model.build import check_same, load_pretrained
from calm.model.checkpoint import WEIGHTS, save_pretrained
from calm.model.generator import Generator
from calm.model.prompt import Prompt
from calm.model.shipped import shared_folder
from calm.part import Part
from calm.types import TASKS
from calm.vae import VAE

__all__ = ["DTYPES", "Deviation", "Export", "export", "new_folder"]

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
#: largest relative change of an output, and of a shared VAE's tensors, that rounding to 16 bits explains
LARGEST_CHANGE, LARGEST_ROUNDING = 0.1, 2.0**-8
#: rows of the random input
NUM_TEXT, NUM_REFERENCE, NUM_FRAMES = 16, 4, 8


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far an output of the rounded weights lies from that of the run's own, on random input."""

    output: str
    #: largest absolute difference, and the root mean square of what it differs from
    largest: float
    scale: float
    #: root mean square of the difference over ``scale``
    relative: float


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written: the model as it loads again, its configuration, size and deviations."""

    model: Part
    config: RunConfig
    num_bytes: int
    dtype: str
    shared_vae: str | None
    base: str | None
    deviations: tuple[Deviation, ...]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes ``out``, whole, when the block is left without an error.

    Raises InputError where ``out`` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("The output exists and is not empty", where=out, hint="remove it, or give another folder")
    partial = out.resolve().with_name(f".{out.resolve().name}.{uuid.uuid4().hex}.part")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(out.resolve())
    finally:
        if partial.exists():
            for file in sorted(partial.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            partial.rmdir()


def export(
    source: str | Path,
    folder: Path,
    *,
    name: str,
    dtype: str = "float16",
    shared_vae: str | None = None,
    base: str | None = None,
) -> Export:
    """Write the model of a run into ``folder``, rounded, load it again and compare.

    Args:
        source: a run's folder, an exported model, or a shipped one. name: what the written model calls itself.
        dtype: one of ``DTYPES``, for matrices; vectors and statistics stay float32.
        shared_vae: name of the exported VAE, beside ``folder`` or shipped, that stands in for the model's own.
        base: name of the exported model, found in the same way, whose tensors are left out where they are equal.

    Raises CheckpointError where the shared VAE is another one, or the rounded model computes something else.
    """
    if dtype not in DTYPES:
        raise InputError(f"'{dtype}' is no type of weights", where="dtype", allowed=DTYPES)
    model, config = load_pretrained(source)
    config = _relocated(config, name=name)
    if shared_vae is not None:
        check_same("vae", config, shared_folder(folder, shared_vae))
    save_pretrained(folder, model=model.eval(), config=config, dtype=DTYPES[dtype], shared_vae=shared_vae, base=base)
    rounded = load_pretrained(folder)[0].eval()
    if shared_vae is not None:
        _check_same_weights(model.vae, rounded.vae, name=shared_vae)
    deviations = tuple(_compare(model, rounded))
    for deviation in deviations:
        if not deviation.relative <= LARGEST_CHANGE:
            raise CheckpointError(
                f"Rounding changes the {deviation.output} by {deviation.relative:.0%}", where=source, hint="--dtype float32"
            )
    return Export(
        model=rounded,
        config=config,
        num_bytes=(folder / WEIGHTS).stat().st_size,
        dtype=dtype,
        shared_vae=shared_vae,
        base=base,
        deviations=deviations,
    )


def _relocated(config: RunConfig, *, name: str) -> RunConfig:
    """The configuration under another name, without paths that mean something on one machine only."""

    def local(spec: str | None) -> str | None:
        parts = split_sources(spec)
        return ",".join(Path(part).name if Path(part).is_absolute() else part for part in parts) or None

    sources = tuple(dataclasses.replace(source, urls=local(source.urls)) for source in config.data.sources)
    paths = {"train": local(config.data.train), "validation": local(config.data.validation), "sources": sources}
    data = dataclasses.replace(config.data, **paths)
    return dataclasses.replace(config, name=name, run_dir=None, data=data)


def _check_same_weights(own: VAE, shared: VAE, *, name: str) -> None:
    others = shared.state_dict()
    for key, tensor in own.state_dict().items():
        difference = (tensor.double() - others[key].double()).norm()
        if not difference <= LARGEST_ROUNDING * tensor.double().norm():
            raise CheckpointError(
                f"The model was trained on another VAE than '{name}': '{key}' differs",
                where=name,
                hint="export the VAE of its own run, or leave out --shared-vae",
            )


def _compare(model: Part, rounded: Part) -> Iterator[Deviation]:
    outputs = _velocities if isinstance(model, Generator) else _through_vae
    for (name, expected), (_, found) in zip(outputs(model), outputs(rounded), strict=True):
        difference, scale = found - expected, float(expected.square().mean().sqrt())
        yield Deviation(
            output=name,
            largest=float(difference.abs().max()),
            scale=scale,
            relative=float(difference.square().mean().sqrt()) / max(scale, 1e-12),
        )


@torch.no_grad()
def _velocities(model: Generator) -> list[tuple[str, Tensor]]:
    """Velocities of two blocks of every task, the second one on a clean first one, and the stop logits."""
    random = torch.Generator().manual_seed(0)
    size, count, channels = model.config.block_sizes[0], len(TASKS), model.vae.latent_dim
    prompt = Prompt(
        task=torch.tensor([task.id for task in TASKS]),
        text=torch.randint(model.tokenizer.vocab_size, (count, NUM_TEXT), generator=random),
        num_text=torch.full((count,), NUM_TEXT),
        reference=torch.randn(count, NUM_REFERENCE, channels, generator=random),
        num_reference=torch.full((count,), NUM_REFERENCE),
    )
    copies = 1
    if model.head.reads_both:
        prompt, copies = Prompt.stack(prompt, prompt.without_conditions()), 2
    branch, found, stops = model.open(prompt, block_size=size), [], []
    for _ in range(2):
        for time in (0.0, 0.5, 0.9):
            noisy = torch.randn(count, size, channels, generator=random).repeat(copies, 1, 1)
            found.append(branch.velocity(noisy, torch.full((copies * count,), time))[:count])
        block = torch.randn(count, size, channels, generator=random)
        stops.append(branch.append(block.repeat(copies, 1, 1))[:count])
    return [("velocity", torch.stack(found)), ("stop logit", torch.stack(stops))]


@torch.no_grad()
def _through_vae(stage: Part) -> list[tuple[str, Tensor]]:
    """Latents of noise, and magnitudes of the spectrum that comes back: a phase that has moved cannot be heard."""
    vae: VAE = stage.vae
    noise = 0.1 * torch.randn(1, vae.channels, NUM_FRAMES * vae.hop, generator=torch.Generator().manual_seed(0))
    latents = vae.to_latents(noise)
    audio = vae.to_audio(latents)
    spectrum = torch.stft(audio[0], 256, window=torch.hann_window(256), return_complex=True).abs()
    return [("latents", latents), ("spectrum", spectrum)]
