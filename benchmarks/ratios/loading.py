"""P8: our loader against plain webdataset, from FLAC and from latents."""

from __future__ import annotations

import io
import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.plan import BATCH, RATE, make_shards, planned_clips, webdataset_clips
from benchmarks.ratios.readings import Goal, Reading, compare, peer_module, row
from benchmarks.ratios.turns import turns
from calm.data.encode import LatentEncoder, encode_shards
from calm.data.latents import LatentFormat

HOP, DIM = 1280, 64


def encoded(shards: Path, out: Path) -> Path:
    """Latent shards of as many clips; what the latents are does not matter here."""
    form = LatentFormat(vae="0" * 64, sample_rate=RATE, hop=HOP, dim=DIM)
    means = lambda audio: torch.zeros(len(audio), audio.shape[-1] // HOP, DIM)  # noqa: E731
    encode_shards(shards, out, encoder=LatentEncoder(form=form, channels=1, means=means))
    return out


def webdataset_latents(shards: Path) -> Iterator[object]:
    """Latents and records of a plain pipeline: shards with replacement, a shuffle buffer, numpy and json."""
    webdataset = peer_module("webdataset", install="pip install webdataset")
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    stages = webdataset.ResampledShards(urls, seed=0), webdataset.tarfile_to_samples(), webdataset.shuffle(100)
    for item in webdataset.DataPipeline(*stages):
        yield torch.from_numpy(np.load(io.BytesIO(item["npy"]))).float(), json.loads(item["json"])


def taking(clips: Iterator[object], count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in itertools.islice(clips, count):
            pass

    return run


@row("P8")
def loader(rounds: int) -> Iterator[Reading]:
    """Clips of 4 s a processor second of one process: ours over plain webdataset's."""
    with tempfile.TemporaryDirectory() as folder:
        flac = make_shards(Path(folder))
        latents = encoded(flac, Path(folder) / "latents")
        for key, shards, plain, count, goal in (
            ("FLAC", flac, webdataset_clips, 10 * BATCH, Goal(sense=">=", value=0.97, limit="1: decoding")),
            ("latents", latents, webdataset_latents, 100 * BATCH, Goal(sense=">=", value=2.0)),
        ):
            jobs = {"ours": taking(planned_clips(shards), count), "plain": taking(plain(shards), count)}
            found = turns(jobs, rounds=2 * rounds)
            rates = {name: f"{count / statistics.median(times.cpu):,.0f} clips/s" for name, times in found.items()}
            yield Reading(
                row="P8",
                key=f"P8 {key}",
                what=f"loading {key}: ours / plain webdataset, clips a processor second",
                ours=rates["ours"],
                peer=f"webdataset {rates['plain']}",
                **compare(found["plain"].cpu, found["ours"].cpu),
                goal=goal,
            )
