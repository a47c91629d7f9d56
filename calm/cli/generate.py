"""`calm generate`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from calm.cli.errors import console
from calm.cli.profile import profiled
from calm.cli.prompts import Prompt, numbered, read_batch_file
from calm.errors import ConsentError, InputError
from calm.types import Task

__all__ = ["generate"]

COMMAND = "calm generate"
FORMATS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def generate(
    words: Annotated[str | None, typer.Argument(metavar="TEXT", help="What is said, or what is heard.")] = None,
    text: Annotated[str | None, typer.Option("--text", "--prompt", help="The same as TEXT.")] = None,
    task: Annotated[str | None, typer.Option(help="speech (the default of TEXT), sound or music.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".wav, .flac, .ogg or .mp3; with --batch-file also a folder.")
    ] = Path("out.wav"),
    duration: Annotated[float | None, typer.Option(help="Seconds; the model decides where it is not given.")] = None,
    voice: Annotated[str | None, typer.Option(help='Description of the voice: "a low male voice".')] = None,
    steps: Annotated[int | None, typer.Option(help="Solver steps per block.")] = None,
    cfg_scale: Annotated[
        float | None, typer.Option("--cfg-scale", "--cfg-strength", help="Guidance; 1 is without.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What should not be heard.")] = None,
    seed: Annotated[int, typer.Option(help="Prompt i of a batch has seed + i.")] = 0,
    ref_audio: Annotated[
        Path | None, typer.Option("--ref-audio", "--prompt-wav", help="Clip of a voice to speak with; needs --consent.")
    ] = None,
    ref_text: Annotated[str | None, typer.Option("--ref-text", "--prompt-text", help="Words of the clip.")] = None,
    consent: Annotated[Path | None, typer.Option(help="Record written by `calm consent new`.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the voice is used for; must be in the consent.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Shipped model (default mini), or folder of an exported model or of a run.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16; on a CPU also fp16, int8 (fastest), int8_rows.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the steps first: for long clips.")] = False,
    batch_file: Annotated[Path | None, typer.Option(help="One prompt a line, or .jsonl; numbered outputs.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts of a batch file that run together.")] = 8,
    provenance: Annotated[str, typer.Option(help="all, none, or of sidecar,c2pa,watermark; files say what is off.")] = "all",
    profile: Annotated[bool, typer.Option("--profile", help="Name the five dearest operations of each batch.")] = False,
) -> None:
    """Generate speech, sound or music.

    Example: calm generate "a bell rings twice" --task sound --duration 3.5 -o bell.wav
    """
    text = _one_of(words, text)
    prompts = _prompts(text, batch_file, task=task, duration=duration, voice=voice, negative_prompt=negative_prompt)
    outputs = _outputs(output, len(prompts) if batch_file else None)
    # Everything that the command line alone decides is refused before a model is loaded.
    reference = _reference(ref_audio, ref_text, consent, purpose)
    settings = _settings(provenance)
    options = {"steps": steps, "cfg_scale": cfg_scale, "reference": reference}
    folder = _folder(model)
    pipeline = _load(folder, device=device, precision=precision, compiled=compiled)
    origin = _origin(folder, model=pipeline.name, consent=None if reference is None else reference.consent)
    index = 0
    for group in _batches(prompts, batch_size):
        with profiled() if profile else nullcontext():
            clips = _clips(pipeline, group, seed=seed + index, **options)
        for clip in clips:
            _save(clip, outputs[index], origin=origin, settings=settings)
            index += 1
        _report(clips, outputs[index - len(clips) : index])


def _outputs(output: Path, count: int | None) -> list[Path]:
    outputs = [output] if count is None else numbered(output, count)
    if outputs[0].suffix not in FORMATS:
        raise InputError(f"'{output}' has no audio format", where="--output", allowed=FORMATS)
    return outputs


def _folder(model: str | None) -> Path:
    from calm.model.shipped import default_model, find_model

    return default_model() if model is None else find_model(model)


def _load(folder: Path, **options: Any) -> Any:
    from calm.generation import AudioCALM  # imports torch, which takes seconds
    from calm.generation.threads import fit_threads

    pipeline = AudioCALM.from_pretrained(folder, **options)
    fit_threads(pipeline.model)
    return pipeline


def _settings(parts: str) -> Any:
    """How the files will say where they are from; its keys are there, and can be used."""
    from calm.safety import ProvenanceSettings, check_settings, parse_parts

    settings = ProvenanceSettings.load(parts=parse_parts(parts))
    check_settings(settings)
    return settings


def _origin(folder: Path, *, model: str, consent: Any) -> dict[str, Any]:
    from calm.model.identity import identify

    identity = identify(folder)
    return {
        "model": model,
        "model_sha256": identity.model_sha256,
        "config_sha256": identity.config_sha256,
        "consent": consent,
    }


def _one_of(words: str | None, text: str | None) -> str | None:
    if words is not None and text is not None:
        raise InputError("TEXT and --text are the same", where=COMMAND, hint="give one of them")
    return text if words is None else words


def _prompts(text: str | None, batch_file: Path | None, *, task: str | None, **common: Any) -> list[Prompt]:
    if (text is None) == (batch_file is None):
        raise InputError("Give one of TEXT and --batch-file", where=COMMAND, hint='calm generate "Hello." -o hello.wav')
    if batch_file is not None:
        return read_batch_file(batch_file, task=task, **common)
    return [Prompt(text=str(text), task=Task.parse(task or Task.SPEECH, where="--task"), **common)]


def _reference(audio: Path | None, text: str | None, consent: Path | None, purpose: str | None) -> Any:
    if audio is None:
        if any(each is not None for each in (text, consent, purpose)):
            raise InputError("--ref-text, --consent and --purpose belong to a clip", where=COMMAND, hint="Add --ref-audio FILE")
        return None
    if consent is None:
        raise ConsentError(
            "A reference voice needs the speaker's consent",
            where="--ref-audio",
            hint=f"calm consent new --ref-audio {audio} --who ... --purpose ... --expires DATE -o consent.json, "
            "then add --consent consent.json",
        )
    from calm import audio as files
    from calm.generation import VoiceReference
    from calm.safety import Consent

    record, waveform = Consent.load(consent), files.read(audio)
    record.verify(waveform, today=date.today(), where=consent, purpose=purpose)
    return VoiceReference(waveform=waveform, text=text, consent=record, purpose=purpose)


def _batches(prompts: list[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Neighbours that share all options, at most ``size`` together."""
    for _, group in itertools.groupby(prompts, key=lambda prompt: prompt.options()):
        members = list(group)
        yield from (members[start : start + size] for start in range(0, len(members), size))


def _clips(pipeline: Any, group: list[Prompt], *, seed: int, **options: Any) -> list[Any]:
    return pipeline.generate([prompt.text for prompt in group], **group[0].options(), **_given(options), seed=seed)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _save(clip: Any, path: Path, *, origin: dict[str, Any], settings: Any) -> None:
    from calm.safety import publish, stamp

    record = stamp(task=clip.task, seed=clip.seed, prompt=clip.text, **origin)
    publish(path, clip.waveform, provenance=record, settings=settings)


def _report(clips: list[Any], paths: list[Path]) -> None:
    """One line a clip, and the speed of the whole call: real-time factor, below 1 is faster than playing."""
    for clip, path in zip(clips, paths, strict=True):
        console().print(f"{path}: {clip.seconds:.2f} s, {clip.finish_reason}, seed {clip.seed}")
    taken, made = clips[0].seconds_taken, sum(clip.seconds for clip in clips)
    console().print(f"{made:.2f} s of audio in {taken:.2f} s: RTF {taken / max(made, 1e-9):.2f}")
