"""`qwen3`: the paper's body, with Hugging Face Qwen3 weights from a local folder or the hub."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import nn

from calm.backbone.hub import find_folder
from calm.backbone.qwen3_sizes import PUBLISHED, Sizes, read_sizes
from calm.backbone.transformer import Transformer
from calm.errors import CheckpointError, ConfigError
from calm.registry import register
from calm.text import Tokenizer, build_tokenizer

__all__ = ["Qwen3"]

#: a checkpoint with tied embeddings may hold them by either name
EMBEDDINGS, TIED = "embed_tokens.weight", "lm_head.weight"


@register("backbone", "qwen3")
class Qwen3(Transformer):
    """Qwen3 body with its tokenizer and pretrained weights, from a local Hugging Face folder or the hub."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["qwen3"] = "qwen3"
        #: folder with config.json, *.safetensors and tokenizer.json, or the model's name on the hub: Qwen/Qwen3-1.7B
        path: str = ""
        #: "pretrained" reads the weights; "random" takes only the sizes, which of published models are known
        weights: Literal["pretrained", "random"] = "pretrained"
        #: use only the first layers of the checkpoint; 0 for all
        num_layers: int = 0

    def __init__(self, config: Config) -> None:
        super(Transformer, self).__init__()
        self.path = config.path
        # On the meta device only shapes are asked for: nothing is downloaded for them.
        on_meta = torch.get_default_device().type == "meta"
        folder = None
        if config.weights == "pretrained" or config.path not in PUBLISHED:
            folder = find_folder(config.path, with_weights=config.weights == "pretrained", download=not on_meta)
        sizes = _cut(PUBLISHED[config.path] if folder is None else read_sizes(folder), num_layers=config.num_layers)
        self._build_layers(sizes, head_dim=sizes.head_dim)
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.dim)
        self._initialize()
        if folder is not None:
            self.tokenizer = build_tokenizer(str(folder))
        if config.weights == "pretrained":
            self._load(folder)

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's own. Read when it is first needed: known sizes need no files."""
        return build_tokenizer(str(find_folder(self.path, with_weights=False)))

    @property
    def assets(self) -> tuple[Path, ...]:
        """What an exported model needs besides its weights."""
        folder = Path(self.tokenizer.name)
        return folder / "config.json", folder / "tokenizer.json"

    def _load(self, folder: Path) -> None:
        """Read the folder's tensors by name. Only ``model.*`` is used, and the tied LM head where it stands alone."""
        wanted = dict(self.named_parameters())
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                "No weights in the Qwen3 folder",
                where=folder,
                allowed="*.safetensors beside config.json",
                hint="download the model's snapshot to this folder, or set backbone.weights=random",
            )
        found = {}
        for file in files:
            with safe_open(file, framework="pt") as tensors:
                found |= {key.removeprefix("model."): (file, key) for key in tensors.keys()}  # noqa: SIM118 (not a mapping)
        if EMBEDDINGS not in found and TIED in found:
            found[EMBEDDINGS] = found[TIED]
        if missing := sorted(wanted.keys() - found.keys()):
            raise CheckpointError(
                f"{len(missing)} tensors are missing, first: {missing[0]}", where=folder, hint="download it again"
            )
        for name, parameter in wanted.items():
            _copy(parameter, *found[name])


def _copy(parameter: nn.Parameter, file: Path, key: str) -> None:
    """Copy one tensor of a file; for a parameter on the meta device its shape is checked and nothing is read."""
    with safe_open(file, framework="pt") as tensors:
        shape = tuple(tensors.get_slice(key).get_shape())
        if tuple(parameter.shape) != shape:
            raise CheckpointError(
                f"Tensor of shape {shape}", where=f"{file}: {key}", allowed=f"{tuple(parameter.shape)} by config.json"
            )
        if not parameter.is_meta:
            parameter.data.copy_(tensors.get_tensor(key))


def _cut(sizes: Sizes, *, num_layers: int) -> Sizes:
    if num_layers > sizes.num_layers:
        raise ConfigError(
            f"num_layers {num_layers} is more than the checkpoint has", where="backbone.num_layers", allowed=f"0..{sizes.num_layers}"
        )
    return dataclasses.replace(sizes, num_layers=num_layers or sizes.num_layers)
