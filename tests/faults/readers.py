"""What is fuzzed: good files, and the public readers that their mutants go through."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed.checkpoint as dcp

from calm import audio
from calm.config import load_config, load_config_file
from calm.data.check import check
from calm.data.config import ShardSource
from calm.data.cut import ClipCut
from calm.data.describe import DescriptionEncoder
from calm.data.examples import Example
from calm.data.importers import read_manifest
from calm.data.index import index_path
from calm.data.latents import SPARE_FRAMES, LatentFormat, read_npy, to_npy
from calm.data.schema import parse_record, to_sample
from calm.data.shards import ShardSet
from calm.data.source import SourceSettings
from calm.data.streaming import WebDatasetSource
from calm.data.transcode import verify_audio
from calm.errors import CalmError, CheckpointError
from calm.model.build import build_model
from calm.model.checkpoint import load_into, save_pretrained
from calm.model.format import FORMAT_KEY, FORMAT_VERSION
from calm.safety import Consent
from calm.text import ByteTokenizer, Describer
from calm.training.beats import Beat, beat_path, read_beats
from calm.training.checkpoint_io import AtomicCheckpointIO
from calm.training.run_folder import ConfigStamp
from calm.training.sharded_checkpoint import METADATA, RUN, read_sharded
from calm.training.status import STATUS, RunStatus, read_status, write_status
from calm.types import Waveform
from tests.data.clips import make_shards, write_corpus
from tests.faults.mutate import TEXT_TOKENS, mutate, with_header, with_pickle, with_tar_sums

__all__ = ["FAULTY", "TARGETS", "Target", "mutant_of"]

Mutant = Callable[[bytes, random.Random], bytes]
TINY = ("model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn", "name=tiny")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A good ``file``, the readers that it goes through, and further ways than `mutate` to damage it."""

    file: Path
    read: Callable[[], object]
    tokens: tuple[bytes, ...] = ()
    structured: Mutant | None = None


def mutant_of(target: Target, good: bytes, rng: random.Random) -> bytes:
    """Return a mutant of ``good``: half of them as the format itself would have it, where the target can."""
    if target.structured is not None and rng.random() < 0.5:
        return target.structured(good, rng)
    return mutate(good, rng, tokens=target.tokens)


def _tar(folder: Path) -> Target:
    """A shard, checked, streamed and read by its index."""
    shard = sorted(make_shards(folder, num_speech=2, num_sound=1, num_music=1).glob("*.tar"))[0]

    def read() -> None:
        check(shard.parent)
        _each(stream, lambda: _read_all(shard))

    def stream() -> None:
        settings = SourceSettings(
            sources=(ShardSource(name="all", urls=str(shard)),),
            batch_size=1,
            seed=0,
            weights_at=lambda step: {},
            cut=ClipCut(1.0),
            max_bad_share=0.005,
        )
        source = WebDatasetSource(WebDatasetSource.Config(shuffle_clips=1), settings=settings)
        list(itertools.islice(source.batches(first_step=0, worker=0, num_workers=1), 4))

    return Target(file=shard, read=read, structured=lambda good, rng: with_tar_sums(mutate(good, rng)))


def _each(*calls: Callable[[], object]) -> None:
    """Make every call, then raise the worst error: one that is refused must not hide what the next does."""
    errors: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:
            errors.append(error)
    if errors:
        raise min(errors, key=lambda error: isinstance(error, CalmError))


def _read_all(shard: Path) -> None:
    shards = ShardSet.open(shard)
    try:
        for row in range(len(shards)):
            shards.read(row)
    finally:
        shards.close()


def _index(folder: Path) -> Target:
    shard = sorted(make_shards(folder, num_speech=2, num_sound=1, num_music=1).glob("*.tar"))[0]

    def read() -> None:
        check(shard.parent)
        _read_all(shard)

    return Target(file=index_path(shard), read=read, tokens=TEXT_TOKENS)


def _record(folder: Path) -> Target:
    """KEY.json of a clip, and the description that training makes of it."""
    path, tone = folder / "clip.json", Waveform(audio=torch.zeros(1, 800), sample_rate=8000)
    attributes = {"gender": "female", "pitch": "low", "tempo": 90, "genre": ["rock", "folk"], "instruments": ["piano"]}
    record = {"task": "speech", "text": "Hello there, 5 pm.", "speaker": "a", "duration": 0.1, "language": "en"}
    path.write_text(json.dumps(record | {"caption": "a bell", "attributes": attributes, "wordings": ["a low voice"]}))
    encoder = DescriptionEncoder(Describer(), ByteTokenizer())

    def read() -> None:
        sample = to_sample(parse_record(path.read_bytes(), where=path), content=tone, key="clip", shard="x.tar")
        for seed in range(3):
            example = Example(sample=sample, complete=True, reference=None, make_rng=lambda seed=seed: np.random.default_rng(seed))
            encoder(example, has_reference=False)

    return Target(file=path, read=read, tokens=(*TEXT_TOKENS, b"sound", b"music"))


def _manifest(folder: Path) -> Target:
    path = write_corpus(folder, num_speech=2, num_sound=1, num_music=1) / "metadata.jsonl"
    return Target(file=path, read=lambda: list(read_manifest(folder)), tokens=TEXT_TOKENS)


def _status(folder: Path) -> Target:
    write_status(folder, RunStatus(state="running", step=3, reason="none", time=1.5))

    def read() -> None:
        if (status := read_status(folder)) is not None:
            # What is returned is what its type says.
            format(status.step, "d"), format(status.time, ".1f"), status.state.upper(), status.reason.upper()

    return Target(file=folder / STATUS, read=read, tokens=TEXT_TOKENS)


def _beat(folder: Path) -> Target:
    path = beat_path(folder, 0)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dataclasses.asdict(Beat(rank=0, host="a", pid=1, step=2, phase="training", time=1.5))))

    def read() -> None:
        for beat in read_beats(folder, [0]).values():
            format(beat.rank + beat.pid + beat.step, "d"), format(beat.time, ".1f"), beat.phase.upper(), beat.host.upper()

    return Target(file=path, read=read, tokens=TEXT_TOKENS)


def _consent(folder: Path) -> Target:
    clip = audio.write(folder / "clip.wav", _noise(), provenance=None)
    record = Consent.new(clip, who="A", purpose="tests", granted=date(2026, 1, 1), expires=date(2027, 1, 1))
    path = record.save(folder / "consent.json")
    return Target(file=path, read=lambda: Consent.load(path).verify(clip, today=date(2026, 6, 1)), tokens=TEXT_TOKENS)


def _sound(folder: Path, extension: str) -> Target:
    origin = audio.Provenance(generator="calm", model="a", task="sound", seed=1, created="2026-01-01T00:00:00+00:00")
    path = audio.write(folder / f"clip.{extension}", _noise(), provenance=origin)

    def read() -> None:
        data = path.read_bytes()
        _each(
            lambda: audio.read(path),
            lambda: audio.read(data, max_seconds=0.05),
            lambda: verify_audio(data, path),
            lambda: audio.read_provenance(path),
        )

    return Target(file=path, read=read)


def _noise() -> Waveform:
    return Waveform(audio=0.1 * torch.randn(1, 1600, generator=torch.Generator().manual_seed(0)), sample_rate=8000)


def _latents(folder: Path) -> Target:
    form = LatentFormat(vae="0123456789", sample_rate=8000, hop=32, dim=4)
    path, record = folder / "clip.npy", {"latents": form.describe(num_samples=320, level_dbfs=-20.0)}
    path.write_bytes(to_npy(np.ones((10 + SPARE_FRAMES, 4))))
    return Target(file=path, read=lambda: read_npy(path.read_bytes(), record, where=path), tokens=TEXT_TOKENS)


def _config(folder: Path) -> Target:
    """A configuration as a run writes it."""
    path = folder / "config.yaml"
    save_pretrained(folder, model=torch.nn.Module(), config=load_config(TINY))

    def read() -> None:
        config = load_config_file(path, imports="refuse")
        json.dumps(config.to_dict())

    return Target(file=path, read=read, tokens=TEXT_TOKENS)


def _checkpoint(folder: Path) -> Target:
    """A training checkpoint, compared with the run's configuration as a resuming run does."""
    config, path = load_config(TINY), folder / "last.ckpt"
    values: dict[str, Any] = {
        "state_dict": {"a": torch.ones(3), "b": torch.zeros(2, 2, dtype=torch.bfloat16)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
        "config": config.to_dict(),
        FORMAT_KEY: FORMAT_VERSION,
        "global_step": 3,
    }
    storage = AtomicCheckpointIO(check=ConfigStamp(config).check)
    storage.save_checkpoint(values, path)
    return Target(file=path, read=lambda: storage.load_checkpoint(path), structured=with_pickle)


def _export(folder: Path) -> Target:
    """The weights of an export, loaded into the model."""
    config = load_config(TINY)
    model = build_model(config)
    save_pretrained(folder, model=model, config=config)
    return Target(file=folder / "model.safetensors", read=lambda: load_into(model, folder), structured=with_header)


def _sharded(folder: Path, file: str) -> Target:
    """A checkpoint folder of a sharded run: its ``.metadata``, slices, or plain values."""
    path, own = folder / "last.ckpt", {"model.a": torch.ones(3, 5), "model.b": torch.zeros(4)}
    dcp.save(own, checkpoint_id=path, no_dist=True)
    torch.save({"state_dict": {}, "global_step": 3}, path / RUN)

    def templates(stored: Any) -> dict[str, torch.Tensor]:
        if {name: tensor.shape for name, tensor in stored.items()} != {name: tensor.shape for name, tensor in own.items()}:
            raise CheckpointError("The checkpoint belongs to another model", where=path)
        return {name: torch.empty_like(tensor) for name, tensor in own.items()}

    found = next(iter(sorted(path.glob(file))))
    structured = None if file == METADATA else with_pickle
    return Target(file=found, read=lambda: read_sharded(path, templates=templates), structured=structured)


def _bad(read: Callable[[], object]) -> Callable[[Path], Target]:
    """A target with a fault of its own: its first, unharmed file is read well."""

    def make(folder: Path) -> Target:
        path, calls = folder / "good.txt", itertools.count()
        path.write_bytes(b"good")
        return Target(file=path, read=lambda: next(calls) and read())

    return make


#: targets with faults, by which the fuzzing itself is tested
FAULTY: dict[str, Callable[[Path], Target]] = {
    "raises": _bad(lambda: {}["mine"]),
    "dies": _bad(lambda: os._exit(7)),
    "hangs": _bad(lambda: time.sleep(600)),
    "grows": _bad(lambda: torch.ones(300 << 20)),
}

#: name -> writes the good files into a folder, and returns the target
TARGETS: dict[str, Callable[[Path], Target]] = {
    "tar": _tar,
    "index": _index,
    "record": _record,
    "manifest": _manifest,
    "status": _status,
    "heartbeat": _beat,
    "consent": _consent,
    "flac": lambda folder: _sound(folder, "flac"),
    "wav": lambda folder: _sound(folder, "wav"),
    "npy": _latents,
    "yaml": _config,
    "ckpt": _checkpoint,
    "safetensors": _export,
    "metadata": lambda folder: _sharded(folder, METADATA),
    "distcp": lambda folder: _sharded(folder, "*.distcp"),
    "run_pt": lambda folder: _sharded(folder, RUN),
}
