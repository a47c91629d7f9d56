"""One call of `calm evaluate`: everything is checked, then the list, the clips and the figures are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm import registry
from calm.errors import InputError
from calm.evaluation.choose import choose_metrics, component, split_words
from calm.evaluation.generate import check_options
from calm.evaluation.judge import check_metrics, default_metrics, judge, open_folder
from calm.evaluation.kept import keep_list
from calm.evaluation.made import RECONSTRUCTION, baseline_systems, made_systems, model_names
from calm.evaluation.manifest import Manifest, first_items, read_manifest
from calm.evaluation.processes import process_group
from calm.evaluation.systems import check_names, find_system

__all__ = ["Wanted", "run_session"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of `calm evaluate`, as its help describes them. ``words``: ``NAME.option=value``."""

    out: Path
    manifest: Path | None = None
    benchmark: str | None = None
    data: Path | None = None
    systems: tuple[tuple[str, Path], ...] = ()
    models: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    reconstruct: str | None = None
    originals: bool = True
    metrics: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    reference: Path | None = None
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"


def run_session(wanted: Wanted) -> Path:
    """Judge, and return the result file. Raises the errors of CalmError with the option or file that is wrong."""
    metrics = wanted.metrics or tuple(default_metrics(registry.names("metric")))
    options = _check(wanted, metrics)
    out, generate = open_folder(wanted.out), options.get("generate", {})
    with process_group():
        manifest = keep_list(lambda: first_items(_list(wanted, options), wanted.limit), out)
        built = choose_metrics(metrics, options, manifest, device=wanted.device, folder=out / "language")
        check_metrics(built)
        systems = [find_system(name, folder, manifest) for name, folder in wanted.systems]
        made, failed = made_systems(
            manifest, models=wanted.models, vae_of=wanted.reconstruct, out=out, seed=wanted.seed, device=wanted.device,
            options=generate,
        )  # fmt: skip
        others, lacking = baseline_systems(manifest, names=wanted.baselines, options=options, out=out, seed=wanted.seed)
        return judge(
            manifest,
            [*systems, *others, *made],
            built,
            out,
            originals=wanted.originals,
            reference=None if wanted.reference is None else read_manifest(wanted.reference),
            notes={"seed": wanted.seed, "generate": generate, "failed": failed | lacking},
        )


def _check(wanted: Wanted, metrics: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Refuse what the command line alone decides, before anything is made; return the options by name."""
    if (wanted.manifest is None) == (wanted.benchmark is None):
        raise InputError(
            "Give one of --manifest and --benchmark", where="calm evaluate", allowed=registry.names("benchmark")
        )
    if wanted.benchmark is not None and wanted.data is None:
        raise InputError("A benchmark needs the folder of its files", where="--data")
    listed = [wanted.benchmark] if wanted.benchmark else []
    options = split_words(wanted.words, allowed=[*metrics, "generate", *listed, *wanted.baselines])
    check_options(options.get("generate", {}))
    reconstruction = [RECONSTRUCTION] if wanted.reconstruct else []
    check_names([*(name for name, _ in wanted.systems), *model_names(wanted.models), *wanted.baselines, *reconstruction])
    return options


def _list(wanted: Wanted, options: dict[str, dict[str, Any]]) -> Manifest:
    if wanted.benchmark is None:
        return read_manifest(wanted.manifest)
    chosen = {"folder": str(wanted.data), **options.get(wanted.benchmark, {})}
    return component("benchmark", wanted.benchmark, chosen).manifest(wanted.out / "benchmark", most=wanted.limit)
