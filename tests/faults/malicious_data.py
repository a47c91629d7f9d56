"""Attacks by data: shards, latents, URLs, manifests, audio, JSON."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from calm import audio
from calm.data.check import write_index
from calm.data.config import ShardSource
from calm.data.cut import ClipCut
from calm.data.importers import read_manifest
from calm.data.schema import parse_record
from calm.data.shards import ShardSet
from calm.data.source import SourceSettings
from calm.data.streaming import WebDatasetSource
from calm.pages.load import resolve
from calm.safety import Consent
from calm.types import Waveform
from tests.faults.malicious import BOMB_BYTES, Attack, Payload, attack, several


def _flac() -> bytes:
    tone = Waveform(audio=0.1 * torch.ones(1, 800), sample_rate=8000)
    return audio.encode(tone, format="flac", provenance=None)


def _shard(folder: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name, info.size = name, len(data) if isinstance(data, bytes) else 0
            tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return path


def _clip(key: str, **more: bytes) -> dict[str, bytes]:
    return {f"{key}.flac": _flac(), f"{key}.json": b'{"task": "sound", "caption": "a tone"}'} | {
        f"{key}.{extension}": data for extension, data in more.items()
    }


def _pickled_member(extension: str) -> Attack:
    return lambda folder, canary: write_index(_shard(folder, _clip("a", **{extension: pickle.dumps(Payload(canary))})))


def _unsafe_key(key: str) -> Attack:
    return lambda folder, canary: write_index(_shard(folder, _clip(key)))


def _special(kind: bytes) -> Attack:
    def run(folder: Path, canary: Path) -> object:
        info = tarfile.TarInfo()
        info.type, info.linkname = kind, "/etc/passwd"
        return write_index(_shard(folder, {**_clip("a"), "b.flac": info}))

    return run


def _latent_member(make: Callable[[Path], bytes]) -> Attack:
    """A latent shard whose KEY.npy is something else."""

    def run(folder: Path, canary: Path) -> object:
        form = {"vae": "0123456789", "sample_rate": 8000, "hop": 32, "dim": 4, "num_samples": 320}
        record = {"task": "sound", "caption": "x", "duration": 0.04, "sample_rate": 8000, "channels": 1, "latents": form}
        return write_index(_shard(folder, {"a.npy": make(canary), "a.json": json.dumps(record).encode()}))

    return run


def _pickled_array(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _zip_of_arrays(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(BOMB_BYTES // 8))
    return buffer.getvalue()


def _url(url: str) -> Attack:
    def run(folder: Path, canary: Path) -> object:
        cut = ClipCut(1.0)
        sources = (ShardSource(name="all", urls=url.format(canary=canary)),)
        settings = SourceSettings(sources=sources, batch_size=1, seed=0, weights_at=lambda step: {}, cut=cut)
        source = WebDatasetSource(WebDatasetSource.Config(), settings=settings)
        return next(iter(source.batches(first_step=0, worker=0, num_workers=1)))

    return run


def _file_name(name: str) -> Attack:
    """A manifest that names a recording outside its folder."""

    def run(folder: Path, canary: Path) -> object:
        inner, secret = folder / "inner", folder / "secret.flac"
        inner.mkdir()
        secret.write_bytes(_flac())
        (inner / "link.flac").symlink_to(secret)
        row = {"file_name": name.format(folder=folder), "task": "sound", "text": "x"}
        (inner / "metadata.jsonl").write_text(json.dumps(row))
        return list(read_manifest(inner))

    return run


kinds = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}
keys = {"key that climbs": "../../a", "key that is absolute": "/etc/a", "key with a line break": "a\nb"}
urls = {"pipe:": "pipe:touch {canary}", "file://": "file:///etc/passwd", "second url pipe:": "/etc/*,pipe:touch {canary}"}
names = {"climbs": "../secret.flac", "is absolute": "{folder}/secret.flac", "is a link": "link.flac"}
arrays = {"a zip bomb as .npy": _zip_of_arrays, "a bare pickle as .npy": lambda canary: pickle.dumps(Payload(canary))}
several("unknown member", {f"a pickle as .{e} in a shard": e for e in ("pyd", "pkl", "pth")}, _pickled_member)
several("not a safe key", keys, _unsafe_key)
several("link, device", {f"a {name} in a shard": kind for name, kind in kinds.items()}, _special)
several("allow_pickle=False", {"a pickled .npy": _pickled_array}, _latent_member)
several("magic string is not correct", arrays, _latent_member)
several("cannot be read from", {f"shards from {name}": url for name, url in urls.items()}, _url)
several("lies outside", {f"a file name that {what}": name for what, name in names.items()}, _file_name)


@attack("No shards here")
def a_pipe_where_a_folder_is_expected(folder: Path, canary: Path) -> object:
    return ShardSet.open(f"pipe:touch {canary}")


@attack("claims 8,589,935 s")
def flac_that_claims_2_to_36_frames(folder: Path, canary: Path) -> object:
    data = bytearray(_flac())
    data[21] |= 0x0F  # STREAMINFO: 36 bits of the number of samples
    data[22:26] = b"\xff" * 4
    return audio.read(bytes(data))


@attack("cut short")
def wav_that_claims_2_gib(folder: Path, canary: Path) -> object:
    wave = bytearray(audio.encode(Waveform(audio=torch.zeros(1, 80), sample_rate=8000), format="wav", provenance=None))
    place = wave.index(b"data") + 4
    wave[place : place + 4] = (0x7FFE0000).to_bytes(4, "little")
    return audio.read(bytes(wave))


@attack("recursion")
def json_nested_100_000_deep(folder: Path, canary: Path) -> object:
    return parse_record(b'{"task": "sound", "caption": "x", "y": ' + b"[" * 100_000, where="KEY.json")


@attack("files of its own run")
def a_page_that_shows_a_file_of_another_folder(folder: Path, canary: Path) -> object:
    (folder / "run").mkdir()
    (folder / "secret.wav").write_bytes(b"")
    return resolve(folder / "run", "../secret.wav")


@attack("not JSON")
def a_consent_that_is_a_pickle(folder: Path, canary: Path) -> object:
    path = folder / "consent.json"
    path.write_bytes(pickle.dumps(Payload(canary)))
    return Consent.load(path)
