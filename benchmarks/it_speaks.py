"""The figures by which a trained model is judged, against the bars of the issue "It speaks".

    python benchmarks/it_speaks.py --model runs/mini/export --corpus runs/mini_corpus --split test --out RESULT.json

Every part (vae, speech, sound, music, long, speed) is written as soon as it is done; a second call with the same
settings makes only those that are missing. Tune on ``validation``; report ``test``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from calm.audio import write_bytes
from calm.errors import CalmError, InputError
from calm.evaluation.machine import machine_record
from calm.evaluation.measure_clips import measure_music, measure_sound
from calm.evaluation.measure_long import measure_long
from calm.evaluation.measure_speech import measure_speech
from calm.evaluation.measure_speed import measure_speed
from calm.evaluation.measure_vae import measure_vae
from calm.evaluation.study import Study, as_json
from calm.generation import AudioCALM
from calm.model.shipped import find_model

PACKAGES = ("audiocalm", "torch", "numpy", "pocketsphinx", "Resemblyzer", "pystoi", "jiwer", "librosa")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of the table: a figure by its path in the results, and what it must be."""

    name: str
    path: str
    #: the bar, and whether the figure must be "at most" or "at least" it, or its magnitude "within" it
    limit: float
    sense: str
    #: a figure that stands beside it
    beside: str = ""


BARS = (
    Bar(name="VAE: STOI of speech", path="vae.speech.stoi", limit=0.92, sense="at least"),
    Bar(name="VAE: WER over originals", path="vae.speech.excess", limit=0.03, sense="at most", beside="vae.speech.wer_originals"),
    Bar(name="  of voices that the scorer understands", path="vae.speech.understood_voices.excess", limit=0.03,
        sense="at most", beside="vae.speech.understood_voices.wer_originals"),
    Bar(name="VAE: SIM of speech", path="vae.speech.sim", limit=0.90, sense="at least"),
    Bar(name="speech: WER over originals", path="speech.excess", limit=0.10, sense="at most", beside="speech.wer_originals"),
    Bar(name="  of voices that the scorer understands", path="speech.understood_voices.excess", limit=0.10, sense="at most",
        beside="speech.understood_voices.wer_originals"),
    Bar(name="speech: own voice nearest, relative", path="speech.nearest_to_own_relative", limit=0.80, sense="at least",
        beside="speech.nearest_to_own_originals"),
    Bar(name="speech: length error, median", path="speech.length_error_median", limit=0.15, sense="at most"),
    Bar(name="sound: kinds right, relative", path="sound.all_named.relative", limit=0.90, sense="at least",
        beside="sound.all_named.originals"),
    Bar(name="sound: counts right, relative", path="sound.counts_right.relative", limit=0.70, sense="at least",
        beside="sound.counts_right.originals"),
    Bar(name="  of sounds that follow each other", path="sound.counts_right_without_overlap.relative", limit=0.70,
        sense="at least", beside="sound.counts_right_without_overlap.originals"),
    Bar(name="sound: exact duration", path="sound.exact_duration", limit=1.0, sense="at least"),
    Bar(name="music: lead instrument right, relative", path="music.first_named.relative", limit=0.85, sense="at least",
        beside="music.first_named.originals"),
    Bar(name="music: tempo within 8 %, relative", path="music.tempo.within_8_percent.relative", limit=0.70,
        sense="at least", beside="music.tempo.within_8_percent.originals"),
    Bar(name="music: exact duration", path="music.exact_duration", limit=1.0, sense="at least"),
    Bar(name="long speech: level drift, dB", path="long.speech.drift.level_db", limit=2.0, sense="within"),
    Bar(name="long speech: ended early", path="long.speech.ended_early", limit=0, sense="at most"),
    Bar(name="long speech: stuck on one stretch", path="long.speech.stuck", limit=0, sense="at most",
        beside="long.speech.stuck_originals"),
    Bar(name="long music: level drift, dB", path="long.music.drift.level_db", limit=2.0, sense="within"),
    Bar(name="  remains music", path="long.music.still_music", limit=0.9, sense="at least"),
    Bar(name="streaming: RTF of speech", path="speed.speech.rtf", limit=0.5, sense="at most"),
    Bar(name="streaming: first audio, ms", path="speed.speech.first_audio_ms", limit=300, sense="at most"),
    Bar(name="first line to a WAV, s", path="speed.cold_start_seconds", limit=15, sense="at most"),
)  # fmt: skip


def parts_of(folder: Path) -> dict[str, Callable[[Study], dict[str, Any]]]:
    return {
        "vae": measure_vae,
        "speech": measure_speech,
        "sound": measure_sound,
        "music": measure_music,
        "long": measure_long,
        "speed": lambda study: measure_speed(study, folder=folder),
    }


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What a result depends on. A result file of other settings is not continued."""
    folder = find_model(options.model)
    weights = folder / "model.safetensors"
    return {
        "model": str(options.model),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None,
        "config_sha256": hashlib.sha256((folder / "config.yaml").read_bytes()).hexdigest(),
        "corpus": str(options.corpus),
        "split": options.split,
        "limit": options.limit,
        "seed": options.seed,
        "listen_to": [str(corpus) for corpus in options.listen_to],
    }


def load(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The result file so far, or a new one."""
    if not path.is_file():
        return {"settings": settings, "parts": {}}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("settings") != settings:
        different = sorted(key for key in settings if found.get("settings", {}).get(key) != settings[key])
        raise InputError(
            f"The result file has other settings: {', '.join(different)}", where=path, hint="choose another --out, or delete it"
        )
    return found


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Make the parts that are missing; the file is rewritten after each."""
    model = AudioCALM.from_pretrained(options.model, device=options.device)
    results, parts = load(options.out, settings_of(options)), parts_of(find_model(options.model))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    for name in options.parts:
        if name in results["parts"]:
            console.print(f"{name}: already in {options.out}")
            continue
        started = time.perf_counter()
        with Progress(*columns, console=console, transient=True) as progress:
            study = Study(
                model=model, corpus=options.corpus, split=options.split, limit=options.limit, seed=options.seed,
                cache=options.cache, listen_to=tuple(options.listen_to), advance=advance_of(progress, name),
            )  # fmt: skip
            found = as_json(parts[name](study))
        results["parts"][name] = {**found, "seconds_taken": round(time.perf_counter() - started, 1), "machine": machine_record(PACKAGES)}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(options.out, (json.dumps(results, indent=2) + "\n").encode())
        console.print(f"{name}: done in {results['parts'][name]['seconds_taken']:.0f} s")
    return results


def advance_of(progress: Progress, part: str) -> Callable[[str, int, int], None]:
    rows: dict[str, Any] = {}

    def advance(what: str, finished: int, total: int) -> None:
        if what not in rows:
            rows[what] = progress.add_task(f"{part}: {what}", total=total)
        progress.update(rows[what], completed=finished, total=total)

    return advance


def look_up(results: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The figure at a path of the parts, as a mapping with ``value``; None where it was not measured."""
    found: Any = results["parts"]
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found if isinstance(found, dict) or found is None else {"value": float(found)}


def holds(bar: Bar, value: float) -> bool:
    if bar.sense == "within":
        return abs(value) <= bar.limit
    return value <= bar.limit if bar.sense == "at most" else value >= bar.limit


def table_of(results: dict[str, Any]) -> Table:
    table = Table(title=f"{results['settings']['model']}, {results['settings']['split']}")
    for column in ("figure", "value", "95 % interval", "items", "originals", "bar", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for bar in BARS:
        figure, beside = look_up(results, bar.path), look_up(results, bar.beside) if bar.beside else None
        if figure is None:
            continue
        interval = f"{figure['low']:.3f} .. {figure['high']:.3f}" if "low" in figure else ""
        sign = {"at most": "<=", "at least": ">=", "within": "+-"}[bar.sense]
        verdict = "[green]holds" if holds(bar, figure["value"]) else "[red]missed"
        originals = f"{beside['value']:.3f}" if beside else ""
        count = str(figure.get("count", ""))
        table.add_row(bar.name, f"{figure['value']:.3f}", interval, count, originals, f"{sign} {bar.limit:g}", verdict)
    return table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="export folder, or a run that has one")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that `calm corpus` made")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--parts", default=",".join(parts_of(Path())), help="comma-separated")
    parser.add_argument("--limit", type=int, help="items of each list")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=Path("runs/evaluation"), help="recognised originals, classifier")
    parser.add_argument(
        "--listen-to", type=Path, nargs="*", default=[], help="corpora whose training splits the classifier hears as well"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file; parts that it holds are not made again")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    for name in options.parts:
        if name not in parts_of(Path()):
            raise InputError(f"Unknown part '{name}'", where="--parts", allowed=parts_of(Path()))
    return options


def main() -> None:
    console = Console()
    try:
        results = run(arguments(), console)
    except CalmError as error:
        console.print(f"[red]{error}", highlight=False)
        raise SystemExit(1) from None
    console.print(table_of(results))


if __name__ == "__main__":
    main()
