"""LoRA on any backbone: two thin matrices beside a frozen one. What is saved for use is merged, and knows nothing of it.

An adapted layer keeps the names of its own weights, so that weights are loaded as ever, before or after.
"""

from __future__ import annotations

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calm.errors import ConfigError, did_you_mean
from calm.model.lora_config import LoRAConfig
from calm.part import Part

__all__ = ["LoRALinear", "adapt", "fingerprint", "frozen_weights", "merged_state"]

#: names of the matrices A and B beside ``weight``
DOWN, UP = "lora_down", "lora_up"


class LoRALinear(nn.Linear):
    """A linear layer with its own weights frozen: W x + (alpha / rank) B (A x), where B is zero at first."""

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        # Not nn.Linear.__init__: the weights are the given ones, and no random number is drawn for others.
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        like = linear.weight
        down = torch.empty(rank, self.in_features, dtype=like.dtype)
        bound = 1 / math.sqrt(self.in_features)
        self.lora_down = nn.Parameter(down.uniform_(-bound, bound, generator=generator).to(like.device))
        self.lora_up = nn.Parameter(like.new_zeros(self.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.lora_down), self.lora_up) * self.scale


def adapt(root: Part, config: LoRAConfig | None, *, seed: int = 0) -> Part:
    """Put matrices into the backbone of ``root``, in place, and freeze all but them and the trained parts.

    Raises ConfigError for a target that no linear layer of the backbone has, and for an unknown part.
    """
    if config is None or config.name == "none":
        return root
    if not hasattr(root, "backbone"):
        raise ConfigError(f"{type(root).__name__} has no backbone", where="lora.name", allowed="none, for this model")
    linears = {name: module for name, module in root.backbone.named_modules() if type(module) is nn.Linear}
    known = sorted({_last(name) for name in linears})
    for target in config.targets:
        if target not in known:
            what = f"The backbone has no linear layer '{target}'. {did_you_mean(target, known) or ''}".strip()
            raise ConfigError(what, where="lora.targets", allowed=known)
    parts = {group["part"]: group["params"] for group in root.param_groups()}
    for part in config.trained_parts:
        if part not in parts:
            what = f"Unknown part '{part}'. {did_you_mean(part, parts) or ''}".strip()
            raise ConfigError(what, where="lora.trained_parts", allowed=sorted(parts))
    kept = [parameter for group in root.param_groups() if group["part"] in config.trained_parts for parameter in group["params"]]
    trained = [parameter for parameter in kept if parameter.requires_grad]
    root.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, linear in linears.items():
        if _last(name) in config.targets:
            adapted = LoRALinear(linear, rank=config.rank, alpha=config.alpha, generator=generator)
            root.backbone.get_submodule(name.rpartition(".")[0]).register_module(_last(name), adapted)
    for parameter in trained:
        parameter.requires_grad_(True)
    return root


def merged_state(root: nn.Module, state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the state of ``root`` with B A added to each W: that of the same model without LoRA.

    Args:
        state: stands in for ``root.state_dict()``.
    """
    merged = dict(root.state_dict() if state is None else state)
    for name, module in root.named_modules():
        if isinstance(module, LoRALinear):
            down, up = (merged.pop(f"{name}.{key}") for key in (DOWN, UP))
            weight = merged[f"{name}.weight"]
            merged[f"{name}.weight"] = (weight.double() + module.scale * (up.double() @ down.double())).to(weight.dtype)
    return merged


def frozen_weights(root: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that fine-tuning does not change, by name. Buffers, as latent statistics, may change."""
    return {name: parameter.detach() for name, parameter in root.named_parameters() if not parameter.requires_grad}


def fingerprint(state: dict[str, Tensor]) -> str:
    """Return the sha256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _last(name: str) -> str:
    return name.rpartition(".")[2]
