"""Systems whose audio is made here: models by name or folder, baselines, and what a VAE makes of the originals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calm.errors import InputError
from calm.evaluation.choose import component
from calm.evaluation.claim import claim
from calm.evaluation.generate import generate_clips, reconstruct_clips
from calm.evaluation.judge import progress_bars
from calm.evaluation.manifest import Manifest
from calm.evaluation.processes import barrier, place
from calm.evaluation.systems import System, find_system
from calm.generation import AudioCALM
from calm.model.shipped import find_model
from calm.model.trained_vae import load_vae
from calm.scorers.hub import hash_of

__all__ = ["RECONSTRUCTION", "baseline_systems", "made_systems", "model_names"]

RECONSTRUCTION = "reconstruction"


def made_systems(
    manifest: Manifest,
    *,
    models: Sequence[str],
    vae_of: str | None,
    out: Path,
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> tuple[list[System], dict[str, dict[str, str]]]:
    """Make what is missing below ``out/audio``, and return the systems and, by system, the reasons of failures.

    Raises InputError where the folder holds clips of other weights, another seed or other options, or where every item
    failed, with the first reason.
    """
    systems, failed = [], {}
    for name, folder in model_names(models).items():
        source = {"kind": "model", **_weights(folder), "seed": seed, "options": dict(options)}
        place_of = claim(out / "audio" / name, source)
        barrier()
        model = AudioCALM.from_pretrained(folder, device=device)
        with progress_bars() as advance:
            failed[name] = generate_clips(
                model, manifest, place_of, seed=seed, options=dict(options),
                advance=lambda finished, total, name=name: advance(f"{name} generates", finished, total),
            )  # fmt: skip
        barrier()
        _check_some(name, place_of, failed[name])
        systems.append(find_system(name, place_of, manifest, source=source))
    if vae_of is not None:
        folder = find_model(vae_of)
        source = {"kind": RECONSTRUCTION, "of": Path(vae_of).name, **_weights(folder)}
        place_of = claim(out / "audio" / RECONSTRUCTION, source)
        barrier()
        vae = load_vae(folder).to(device)
        with progress_bars() as advance:
            failed[RECONSTRUCTION] = reconstruct_clips(
                vae, manifest, place_of, advance=lambda finished, total: advance(RECONSTRUCTION, finished, total)
            )
        barrier()
        systems.append(find_system(RECONSTRUCTION, place_of, manifest, source=source))
    return systems, {name: reasons for name, reasons in failed.items() if reasons}


def baseline_systems(
    manifest: Manifest, *, names: Sequence[str], options: Mapping[str, Mapping[str, Any]], out: Path, seed: int
) -> tuple[list[System], dict[str, dict[str, str]]]:
    """Let registered baselines make what is missing below ``out/audio``; return them, and the reasons of failures.

    One process runs a baseline, which may start another environment's Python; the others wait.
    """
    systems, failed = [], {}
    for name in dict.fromkeys(names):
        baseline, folder = component("baseline", name, options.get(name)), out / "audio" / name
        if place()[0] == 0:
            with progress_bars() as advance:
                done = itertools.count(1)
                generated = baseline.generate(
                    manifest, folder, seed=seed, on_item=lambda _: advance(name, next(done), len(manifest.items))  # noqa: B023 - called at once
                )
            failed[name] = dict(generated.failed)
        barrier()
        source = {"kind": "baseline", "scope": baseline.about.scope, "seed": seed, "options": dict(options.get(name, {}))}
        systems.append(find_system(name, folder, manifest, source=source))
    return systems, {name: reasons for name, reasons in failed.items() if reasons}


def model_names(models: Sequence[str]) -> dict[str, Path]:
    """System's name -> folder of its model, of words ``mini``, ``FOLDER`` or ``NAME=FOLDER``.

    A shipped model is called as it is, a folder by its last part, an export by its run. Raises InputError for a name
    that is no folder's, CheckpointError where there is no such model.
    """
    found: dict[str, Path] = {}
    for text in models:
        name, equals, place_of = text.partition("=")
        folder = find_model(place_of if equals else text)
        own = folder.resolve()
        name = name if equals else (own.parent.name if own.name == "export" else own.name)
        if name in found or not name or "/" in name or name.startswith(".") or name == RECONSTRUCTION:
            raise InputError(f"A model's clips cannot lie in a folder '{name}'", where="--model", hint="NAME=FOLDER names it")
        found[name] = folder
    return found


def _check_some(name: str, folder: Path, failed: Mapping[str, str]) -> None:
    if failed and not any(folder.glob("*.wav")):
        raise InputError(f"{name} made no clip at all: {next(iter(failed.values()))}", where=folder)


def _weights(folder: Path) -> dict[str, Any]:
    files = {"weights_sha256": folder / "model.safetensors", "config_sha256": folder / "config.yaml"}
    return {key: hash_of(path) if path.is_file() else None for key, path in files.items()}
