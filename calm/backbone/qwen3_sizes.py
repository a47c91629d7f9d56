"""Sizes of Qwen3 bodies: read from a ``config.json``, or known for the models that were published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from calm.errors import CheckpointError

__all__ = ["PUBLISHED", "Sizes", "read_sizes"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a body; ``ffn_dim`` is the width of the FFN, ``rope_base`` the period base of the rotary positions."""

    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    norm_eps: float = 1e-6
    rope_base: float = 1e6


def _published(dim: int, ffn_dim: int, *, num_layers: int = 28, num_heads: int = 16) -> Sizes:
    return Sizes(
        dim=dim, ffn_dim=ffn_dim, num_layers=num_layers, num_heads=num_heads, num_kv_heads=8, head_dim=128, vocab_size=151_936
    )


#: name on the hub -> the sizes in its config.json (Qwen3 technical report, arXiv 2505.09388, table 1)
PUBLISHED: dict[str, Sizes] = {
    "Qwen/Qwen3-0.6B": _published(1024, 3072),
    "Qwen/Qwen3-1.7B": _published(2048, 6144),
    "Qwen/Qwen3-4B": _published(2560, 9728, num_layers=36, num_heads=32),
}


def read_sizes(folder: Path) -> Sizes:
    """Read the sizes from a Hugging Face ``config.json``. Raises CheckpointError where it is not there, or not Qwen3's."""
    try:
        raw = json.loads((folder / "config.json").read_text())
        rope = raw.get("rope_parameters") or {}
        return Sizes(
            dim=raw["hidden_size"],
            num_layers=raw["num_hidden_layers"],
            num_heads=raw["num_attention_heads"],
            num_kv_heads=raw["num_key_value_heads"],
            head_dim=raw["head_dim"],
            ffn_dim=raw["intermediate_size"],
            vocab_size=raw["vocab_size"],
            norm_eps=raw["rms_norm_eps"],
            rope_base=float(raw.get("rope_theta") or rope["rope_theta"]),
        )
    except FileNotFoundError:
        raise CheckpointError(
            "The Qwen3 folder has no config.json",
            where=folder,
            allowed="a snapshot of a Qwen3 model, or its name on the hub, for example Qwen/Qwen3-1.7B",
            hint="set backbone.path to one",
        ) from None
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"config.json is not a Qwen3 configuration ({error!r})", where=folder / "config.json") from None
