"""P7: our decoder against Oobleck and EnCodec, and in a stream against whole."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import torch

from benchmarks.ratios.peers.codecs import encodec_48k, mimi, oobleck
from benchmarks.ratios.readings import Goal, MissingPeer, Reading, compare, row
from benchmarks.ratios.turns import turns
from calm.config import load_config
from calm.model.precision import pack_decoder
from calm.registry import build

#: latents of our clip, 10 s; and those of a streamed piece
FRAMES, BLOCK = 108, 4


def our_decoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build("vae", load_config(("experiment=audiocalm_vae_44k",)).vae).eval()


def streamed(vae, latents: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        stream, (*pieces, last) = vae.stream(), latents.split(BLOCK, dim=1)
        for piece in pieces:
            stream.push(piece)
        stream.push(stream.last(last))
        stream.finish()

    return run


def whole(vae, latents: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            vae.decode(latents)

    return run


@row("P7")
def decoders(rounds: int) -> Iterator[Reading | MissingPeer]:
    """RTF of decoding 44.1 kHz stereo: the peer's over ours, in float32; and our stream in blocks of 4 over the whole clip at
    once, with the fp16 weights of generation on a CPU and in float32."""
    vae, packed = our_decoder(), pack_decoder(our_decoder())
    latents = torch.randn(1, FRAMES, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    jobs, length = {"whole": whole(vae, latents), "streamed": streamed(vae, latents)}, {"whole": FRAMES / vae.frame_rate}
    jobs |= {"whole fp16": whole(packed, latents), "streamed fp16": streamed(packed, latents)}
    for name, make in (("oobleck", oobleck), ("encodec", encodec_48k), ("mimi", mimi)):
        try:
            jobs[name], length[name] = make()
        except MissingPeer as error:
            yield error
    found = turns(jobs, rounds=rounds)
    ours = [wall / length["whole"] for wall in found["whole"].wall]
    rtf = f"RTF {statistics.median(ours):.3g}"
    goals = {"oobleck": Goal(sense=">=", value=30.0, bar=20.0), "encodec": Goal(sense=">=", value=3.0)}
    titles = {"oobleck": "Oobleck 44.1 kHz stereo", "encodec": "EnCodec 48 kHz stereo", "mimi": "Mimi 24 kHz mono"}
    for name, title in titles.items():
        if name in found:
            peer = [wall / length[name] for wall in found[name].wall]
            yield Reading(
                row="P7",
                key=f"P7 {name}",
                what="decoding, 44.1 kHz stereo: peer / ours",
                ours=rtf,
                peer=f"{title} {statistics.median(peer):.3g}",
                **compare(peer, ours),
                goal=goals.get(name),
            )
    goal = Goal(sense="<=", value=1.2, bar=1.3)
    for suffix, kind, aim in ((" fp16", "fp16 weights", goal), ("", "float32", None)):
        pieces, at_once = ([wall / length["whole"] for wall in found[job + suffix].wall] for job in ("streamed", "whole"))
        yield Reading(
            row="P7",
            key="P7 streamed" if aim else f"P7 streamed {kind}",
            what=f"decoding in blocks of 4 / whole, {kind}",
            ours=f"RTF {statistics.median(pieces):.3g}",
            peer=f"whole RTF {statistics.median(at_once):.3g}",
            **compare(pieces, at_once),
            goal=aim,
            details={"cpu_ratio": compare(found["streamed" + suffix].cpu, found["whole" + suffix].cpu)},
        )
