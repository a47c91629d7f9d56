"""How far the audio of a decoder with fp16 weights is from that of float32: `mini`, whole and streamed.

    python benchmarks/decoder_precision.py [RESULT.json]

The latents are those of generated clips. The shipped weights were stored in 16 bits, which fp16 holds exactly; so the same
is measured with every weight moved by about 0.1 %, as the float32 weights of a run are. Decibels of signal over error.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
from torch import Tensor

from calm.audio import write_bytes
from calm.evaluation.machine import machine_record
from calm.generation import AudioCALM
from calm.model.precision import pack_decoder
from calm.vae import VAE

TEXTS = {"speech": "The quick train leaves the old harbour at half past seven.", "music": "A calm piano melody over guitar."}
SECONDS, BLOCK, MOVED = 3.0, 4, 1e-3


def streamed(vae: VAE, latents: Tensor) -> Tensor:
    stream = vae.stream()
    return torch.cat([*(stream.push(piece) for piece in latents.split(BLOCK, dim=1)), stream.finish()], dim=-1)


def decibels(audio: Tensor, exact: Tensor) -> float:
    return float(20 * torch.log10(exact.norm() / (audio - exact).norm()))


def moved(vae: VAE) -> VAE:
    vae, draw = copy.deepcopy(vae), torch.Generator().manual_seed(0)
    for weight in vae.decoder.parameters():
        weight.mul_(1 + MOVED * torch.randn(weight.shape, generator=draw))
    return vae


def errors(vae: VAE, latents: Tensor) -> dict[str, float]:
    """Of normalised latents [1, F, C]."""
    raw, packed = vae.denormalize(latents), pack_decoder(copy.deepcopy(vae))
    exact, whole, pieces = vae.decode(raw), packed.decode(raw), streamed(packed, raw)
    return {
        "whole_decibels": decibels(whole, exact),
        "streamed_decibels": decibels(pieces, exact),
        "largest_streamed_minus_whole": float((pieces - whole).abs().max()),
    }


@torch.no_grad()
def measure() -> dict[str, dict[str, dict[str, float]]]:
    pipeline = AudioCALM.from_pretrained("mini", device="cpu")
    clips = {task: pipeline.generate(text, task=task, duration=SECONDS, seed=1)[0] for task, text in TEXTS.items()}
    decoders = {"as shipped": pipeline.model.vae, "float32 weights": moved(pipeline.model.vae)}
    return {
        name: {task: errors(vae, clip.latents.unsqueeze(0)) for task, clip in clips.items()} for name, vae in decoders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = measure()
    text = json.dumps({"results": results, "machine": machine_record()}, indent=2)
    print(text)
    if options.result is not None:
        write_bytes(options.result, (text + "\n").encode())


if __name__ == "__main__":
    main()
