"""`qwen3`: the paper's body, built from and loaded with Hugging Face Qwen3 weights in a local folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

from safetensors import safe_open
from torch import nn

from calm.backbone.transformer import Transformer
from calm.errors import CheckpointError, ConfigError
from calm.registry import register
from calm.text import build_tokenizer

__all__ = ["Qwen3"]


@register("backbone", "qwen3")
class Qwen3(Transformer):
    """Qwen3 body with its tokenizer and pretrained weights, read from a local Hugging Face folder."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["qwen3"] = "qwen3"
        #: folder with config.json, *.safetensors and tokenizer.json, for example a snapshot of Qwen/Qwen3-1.7B
        path: str = ""
        #: "pretrained" reads the folder's weights; "random" takes only its sizes
        weights: Literal["pretrained", "random"] = "pretrained"
        #: use only the first layers of the checkpoint; 0 for all
        num_layers: int = 0

    def __init__(self, config: Config) -> None:
        folder = Path(config.path).expanduser()
        sizes = _read_sizes(folder, num_layers=config.num_layers)
        super(Transformer, self).__init__()
        self._build_layers(sizes, head_dim=sizes.head_dim)
        self.tokenizer = build_tokenizer(str(folder))
        #: what an exported model needs besides its weights
        self.assets = (folder / "config.json", folder / "tokenizer.json")
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.dim)
        self._initialize()
        if config.weights == "pretrained":
            self._load(folder)

    def _load(self, folder: Path) -> None:
        """Read the folder's tensors by name. Only ``model.*`` is used; the LM head has no place here."""
        wanted = dict(self.named_parameters())
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                "No weights in the Qwen3 folder",
                where=folder,
                allowed="*.safetensors beside config.json",
                hint="download the model's snapshot to this folder, or set backbone.weights=random",
            )
        missing = set(wanted)
        for file in files:
            with safe_open(file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 (not a mapping)
                    name = key.removeprefix("model.")
                    if name in wanted:
                        _copy(wanted[name], tensors.get_tensor(key), where=f"{file}: {key}")
                        missing.discard(name)
        if missing:
            raise CheckpointError(
                f"{len(missing)} tensors are missing, first: {sorted(missing)[0]}", where=folder, hint="download it again"
            )


def _copy(parameter: nn.Parameter, tensor, *, where: str) -> None:
    if parameter.shape != tensor.shape:
        raise CheckpointError(
            f"Tensor of shape {tuple(tensor.shape)}", where=where, allowed=f"{tuple(parameter.shape)} by config.json"
        )
    parameter.data.copy_(tensor)


def _read_sizes(folder: Path, *, num_layers: int) -> SimpleNamespace:
    """Sizes of the body from a Hugging Face ``config.json``."""
    try:
        raw = json.loads((folder / "config.json").read_text())
        rope = raw.get("rope_parameters") or {}
        sizes = SimpleNamespace(
            dim=raw["hidden_size"],
            num_layers=raw["num_hidden_layers"],
            num_heads=raw["num_attention_heads"],
            num_kv_heads=raw["num_key_value_heads"],
            head_dim=raw["head_dim"],
            ffn_dim=raw["intermediate_size"],
            norm_eps=raw["rms_norm_eps"],
            rope_base=float(raw.get("rope_theta") or rope["rope_theta"]),
            vocab_size=raw["vocab_size"],
        )
    except FileNotFoundError:
        raise CheckpointError(
            "The Qwen3 folder has no config.json",
            where=folder,
            hint="set backbone.path to a local snapshot of a Qwen3 model (nothing is downloaded)",
        ) from None
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"config.json is not a Qwen3 configuration ({error!r})", where=folder / "config.json") from None
    if num_layers > sizes.num_layers:
        raise ConfigError(
            f"num_layers {num_layers} is more than the checkpoint has", where="backbone.num_layers", allowed=f"0..{sizes.num_layers}"
        )
    sizes.num_layers = num_layers or sizes.num_layers
    return sizes
