"""Generation in a few steps against many: word errors paired by utterance, voices, lengths, and the time of a clip.

    python benchmarks/few_steps.py --corpus runs/few_corpus --split test --size 500 --out benchmarks/results/few_steps.json

The first system is what the others are compared with. Clips are made in batches, scored one by one, and their numbers
kept beside the result file, so that a second call goes on. Tune on ``validation``; report ``test``.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from calm.audio import write_bytes
from calm.evaluation.language import write_language_model
from calm.evaluation.listening import WARP_CLIPS
from calm.evaluation.lists import SpeechItem, make_speech_list
from calm.evaluation.machine import machine_record
from calm.evaluation.study import as_json, consented
from calm.generation import AudioCALM
from calm.generation.clips import Clips
from calm.generation.growth import grow
from calm.generation.plan import Call, Plan, make_plan
from calm.generation.solver import ORDERS
from calm.metrics.intervals import mean, median
from calm.metrics.words import WordErrors, excess, word_error_rate, word_errors
from calm.model.prompt import Prompt
from calm.scorers.recogniser import DITHER_SEEDS, Recogniser
from calm.scorers.speaker import SpeakerEncoder
from calm.types import Task, Waveform

BATCH = 32
SPEED_TEXT = "The quick train leaves the old harbour at half past seven every morning."


@dataclass(frozen=True, kw_only=True)
class System:
    """A model and how it is asked."""

    name: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)


SYSTEMS = (
    System(name="mini_10", model="mini", options={"steps": 10}),
    System(name="few_4", model="mini_few", options={"steps": 4}),
    System(name="few_2", model="mini_few", options={"steps": 2}),
    System(name="few_1", model="mini_few", options={"steps": 1}),
    System(name="mini_4", model="mini", options={"steps": 4, "grid": "uniform"}),
    System(name="mini_4_one_branch", model="mini", options={"steps": 4, "grid": "uniform", "cfg_scale": 1.0}),
    System(name="mini_1_one_branch", model="mini", options={"steps": 1, "cfg_scale": 1.0}),
)


def merged(plans: Sequence[Plan]) -> Plan:
    """One plan of several: all that differs between them is per request."""
    first = plans[0].settings
    per_request = {key: sum((getattr(plan.settings, key) for plan in plans), ()) for key in ("cfg_scale", "temperature", "seeds")}
    return replace(
        plans[0],
        requests=sum((plan.requests for plan in plans), ()),
        prompt=functools.reduce(Prompt.stack, [plan.prompt for plan in plans]),
        settings=replace(first, **per_request),
    )


def speak(system: AudioCALM, numbered: Sequence[tuple[int, SpeechItem]], options: dict[str, Any]) -> list[Waveform]:
    """Every sentence in the voice of its reference, all in one batch; the seed is the item's number."""
    calls = [
        Call(text=item.target.text, task=Task.SPEECH, reference=consented(item.reference_audio), seed=number, **options)
        for number, item in numbered
    ]
    plan = merged([
        make_plan(system.model, system.sampler, call, text_style=system.text_style, trained_seconds=system.trained_seconds)
        for call in calls
    ])  # fmt: skip
    pieces = grow(system.model, Clips(system.model, plan, gather=8))
    return [Waveform(audio=torch.cat(parts, dim=-1), sample_rate=system.sample_rate) for parts in zip(*pieces, strict=True)]


class Scorer:
    """Word errors over the dither seeds, similarity to the reference, length relative to the original."""

    def __init__(self, items: Sequence[SpeechItem]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="calm-few-steps-")
        language = write_language_model([item.target.text for item in items], folder=Path(self._folder.name))
        self.recogniser, self.encoder = Recogniser(language=language), SpeakerEncoder()
        clips: dict[str, list[Waveform]] = defaultdict(list)
        for item in items:
            if len(clips[str(item.target.speaker)]) < WARP_CLIPS:
                clips[str(item.target.speaker)].append(item.target.audio())
        self.warps = self.recogniser.choose_warps(clips)

    def row(self, item: SpeechItem, clip: Waveform) -> dict[str, float]:
        warp = self.warps[str(item.target.speaker)]
        heard = [self.recogniser.transcribe(clip, dither_seed=seed, warp=warp).text for seed in DITHER_SEEDS]
        found, original = word_errors(item.target.text, heard), item.target.audio().seconds
        own = self.encoder.embed(item.reference_audio)
        similarity = float(self.encoder.embed(clip) @ own) if bool(clip.audio.any()) else 0.0
        return {"errors": found.errors, "words": found.words, "sim": similarity, "length_error": abs(clip.seconds / original - 1)}


def batches(items: Sequence[SpeechItem], known: dict[str, Any]) -> Iterator[list[tuple[int, SpeechItem]]]:
    """What is missing, sentences of about the same length together."""
    missing = [(number, item) for number, item in enumerate(items) if item.target.key not in known]
    missing.sort(key=lambda pair: len(pair[1].target.text))
    yield from (missing[start : start + BATCH] for start in range(0, len(missing), BATCH))


def rows_of(system: System, items: Sequence[SpeechItem], scorer: Scorer, *, kept: Path, console: Console) -> list[dict[str, float]]:
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    model = AudioCALM.from_pretrained(system.model, device="cpu")
    for batch in batches(items, known):
        for (_, item), clip in zip(batch, speak(model, batch, system.options), strict=True):
            known[item.target.key] = scorer.row(item, clip)
        write_bytes(kept, json.dumps(known).encode())
        console.print(f"{system.name}: {len(known)} clips")
    return [known[item.target.key] for item in items]


def figures(rows: Sequence[dict[str, float]], first: Sequence[dict[str, float]]) -> dict[str, Any]:
    ours, others = ([WordErrors(errors=r["errors"], words=int(r["words"])) for r in each] for each in (rows, first))
    return {
        "wer": word_error_rate(ours),
        "wer_minus_first": excess(ours, others),
        "sim_to_reference": mean([row["sim"] for row in rows]),
        "sim_minus_first": mean([a["sim"] - b["sim"] for a, b in zip(rows, first, strict=True)]),
        "length_error_median": median([row["length_error"] for row in rows]),
    }


def speeds(systems: Sequence[System], *, rounds: int) -> dict[str, Any]:
    """Processor seconds of a second of audio, streamed, in turn: A B C A B C. NFE of a block, a branch counted as one.

    Seconds of the processor and not of the clock, so that a busy machine does not decide.
    """
    models = {system.name: AudioCALM.from_pretrained(system.model, device="cpu") for system in systems}
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for system in systems:
            started, seconds = time.process_time(), 0.0
            for piece in models[system.name].generate_streaming(SPEED_TEXT, task="speech", seed=number, **system.options):
                seconds += piece.seconds
            if number:  # the first round only warms up
                times[system.name].append((time.process_time() - started) / seconds)
    first = times[systems[0].name]
    return {
        system.name: {
            "processor_rtf": statistics.median(times[system.name]),
            "processor_rtf_range": [min(times[system.name]), max(times[system.name])],
            "first_over_rtf": statistics.median(a / b for a, b in zip(first, times[system.name], strict=True)),
            "nfe": nfe_of(models[system.name], system),
        }
        for system in systems
    }


def nfe_of(model: AudioCALM, system: System) -> int:
    sampler, asked = model.sampler, system.options
    guided = asked.get("cfg_scale", sampler.cfg_scale_speech) != 1
    return asked.get("steps", sampler.num_steps) * ORDERS[asked.get("solver", sampler.solver)] * (2 if guided else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder that `calm corpus` made")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--size", type=int, default=50, help="utterances")
    parser.add_argument("--systems", default=",".join(system.name for system in SYSTEMS), help="comma-separated")
    parser.add_argument("--few", help="folder that stands for mini_few")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing; 0 for none")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    return parser.parse_args()


def main() -> None:
    options, console = arguments(), Console()
    torch.set_num_threads(1)
    chosen = [system for system in SYSTEMS if system.name in options.systems.split(",")]
    if options.few:
        chosen = [replace(system, model=options.few) if system.model == "mini_few" else system for system in chosen]
    # The list is drawn from all clips of the split: a shorter one is the beginning of a longer one.
    items = make_speech_list(options.corpus, split=options.split, size=options.size)
    scorer = Scorer(items)
    folder = options.out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    rows = {s.name: rows_of(s, items, scorer, kept=folder / f"{s.name}.json", console=console) for s in chosen}
    first = rows[chosen[0].name]
    result = {
        "split": options.split,
        "utterances": len(items),
        "dither_seeds": len(DITHER_SEEDS),
        "speech": {name: as_json(figures(found, first)) for name, found in rows.items()},
        "speed": speeds(chosen, rounds=options.rounds) if options.rounds else None,
        **machine_record(("torch", "pocketsphinx")),
    }
    write_bytes(options.out, (json.dumps(result, indent=2) + "\n").encode())
    for name, found in result["speech"].items():
        wer, paired = found["wer"], found["wer_minus_first"]
        interval = f"{paired['value']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f})"
        speed = result["speed"][name] if result["speed"] else {}
        console.print(f"{name}: WER {wer['value']:.3f}, minus first {interval}, SIM {found['sim_to_reference']['value']:.3f}, {speed}")


if __name__ == "__main__":
    main()
