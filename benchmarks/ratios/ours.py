"""Models of ours with random weights, as large as the peers' bodies."""

from __future__ import annotations

import functools

import torch

from calm.config import load_config
from calm.generation import AudioCALM
from calm.model.precision import set_precision

__all__ = ["CLIP_SECONDS", "FAST", "TEXT", "body_parameters", "build", "config_of"]

#: what is asked for in every streamed clip; sound, so that the speech expert rests
TEXT, CLIP_SECONDS = "A dog barks twice while it rains, and a door is closed.", 6.0
#: few steps and one branch: what a distilled model, with guidance in its weights, does
FAST = {"steps": 4, "grid": "uniform", "cfg_scale": 1.0}

#: texts as phonemes, as `mini` reads them: a prompt is a quarter as long as in bytes, and the peers read words in pieces
_FLOW = ("experiment=audiocalm_100m", "vae_ckpt_path=null", "model.block_sizes=[4]", "model.attention=dense", "backbone.tokenizer=phonemes")  # fmt: skip
_WIDE = ("backbone.dim=1024", "backbone.num_layers=6", "backbone.num_heads=16", "backbone.num_kv_heads=16", "backbone.ffn_dim=2816")  # fmt: skip
_MIDDLE = ("backbone.dim=640", "backbone.num_layers=6", "backbone.num_heads=10", "backbone.num_kv_heads=10", "backbone.ffn_dim=1408")  # fmt: skip
#: wide rather than deep: a small pass is bound by the number of operations
_SMALL = ("backbone.dim=512", "backbone.num_layers=4", "backbone.num_heads=8", "backbone.num_kv_heads=8", "backbone.ffn_dim=1408")  # fmt: skip
#: 24 kHz mono at 12.5 latents a second, as the peers have it, with the decoder of `mini`
_MONO = ("vae=mini", "vae.sample_rate=24000", "vae.strides=[5,4,4,6]", "vae.n_fft=480", "vae.stft_hop=120")
_MODELS = {
    "77m": (*_FLOW, *_WIDE),
    "77m_body": (*_FLOW, *_WIDE, "vae=tiny"),
    "26m_body": (*_FLOW, *_MIDDLE, "vae=tiny"),
    "13m": (*_FLOW, *_SMALL, *_MONO),
    "13m_stereo": (*_FLOW, *_SMALL),
}  # fmt: skip


def config_of(name: str):
    return load_config(_MODELS[name])


@functools.lru_cache(maxsize=2)
def build(name: str, precision: str = "int8") -> AudioCALM:
    """`ar_flow` in blocks of 4: "77m" and "13m_stereo" decode to 44.1 kHz stereo, "13m" to 24 kHz mono; "77m_body" and
    "26m_body" are for passes of the backbone alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = AudioCALM.from_config(config_of(name))
    set_precision(pipeline.model, precision)
    return pipeline


def body_parameters(name: str) -> int:
    """Weights of the backbone's matrices, embeddings apart."""
    body = config_of(name).backbone
    head_dim = body.dim // body.num_heads
    attention = 2 * body.dim * body.dim + 2 * body.dim * body.num_kv_heads * head_dim
    return body.num_layers * (attention + 3 * body.dim * body.ffn_dim)
