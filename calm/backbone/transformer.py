"""`transformer`: our own body, trained from scratch on bytes or phonemes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from calm.backbone.base import Backbone, Residual
from calm.backbone.cache import Cache
from calm.backbone.joint_cache import JointCache
from calm.backbone.layers import Layer, RMSNorm, Rotary, rotary
from calm.errors import ConfigError
from calm.registry import register
from calm.text import build_tokenizer

__all__ = ["Transformer"]


@register("backbone", "transformer")
class Transformer(Backbone):
    """Pre-norm transformer with GQA, QK-norm, RoPE and SwiGLU, trained from scratch."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["transformer"] = "transformer"
        #: D, width of the hidden states
        dim: int = 384
        num_layers: int = 8
        #: H
        num_heads: int = 6
        #: heads of keys and values; a divisor of num_heads
        num_kv_heads: int = 6
        #: width of the FFN between its two projections
        ffn_dim: int = 1024
        #: period base of the rotary positions
        rope_base: float = 10_000.0
        norm_eps: float = 1e-6
        #: "bytes", "phonemes" (fewer rows; English), or a local folder with a tokenizer.json
        tokenizer: str = "bytes"

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.dim % config.num_heads or config.num_heads % config.num_kv_heads:
            raise ConfigError(
                f"dim {config.dim}, num_heads {config.num_heads} and num_kv_heads {config.num_kv_heads} do not divide",
                where="backbone",
                allowed="num_heads divides dim, num_kv_heads divides num_heads",
            )
        self._build_layers(config, head_dim=config.dim // config.num_heads)
        self.tokenizer = build_tokenizer(config.tokenizer)
        self.embed_tokens = nn.Embedding(self.tokenizer.vocab_size, config.dim)
        self._initialize()

    def _build_layers(self, config, *, head_dim: int) -> None:
        self.dim, self.ffn_dim, self.num_layers = config.dim, config.ffn_dim, config.num_layers
        self.head_dim, self.num_kv_heads, self.rope_base = head_dim, config.num_kv_heads, config.rope_base
        self.angles: Callable[..., Rotary] = functools.partial(rotary, head_dim=head_dim, base=config.rope_base)
        self.layers = nn.ModuleList(
            Layer(
                config.dim,
                num_heads=config.num_heads,
                num_kv_heads=config.num_kv_heads,
                head_dim=head_dim,
                ffn_dim=config.ffn_dim,
                norm_eps=config.norm_eps,
            )
            for _ in range(config.num_layers)
        )
        self.norm = RMSNorm(config.dim, eps=config.norm_eps)

    def _initialize(self) -> None:
        """Normal(0, 0.02), output projections scaled down by depth (GPT-2), so that the residual stream stays level."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scaled = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * self.num_layers) ** 0.5 if scaled else 0.02)

    def embed_text(self, ids: Tensor) -> Tensor:
        return self.embed_tokens(ids)

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor,
        mask: Tensor | Sequence[Tensor | None] | None = None,
        residual: Residual | None = None,
        cache: Cache | JointCache | None = None,
    ) -> Tensor:
        table = self.angles(positions, dtype=x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, rotary=table, mask=mask, layer=index, residual=residual, cache=cache)
        return self.norm(x)

    def new_cache(
        self, batch_size: int, *, capacity: int, history_rows: int | None = None, kind: Callable[..., Cache] = Cache
    ) -> Cache:
        weight = self.norm.weight
        return kind(
            (self.num_layers, batch_size, self.num_kv_heads, self.head_dim),
            capacity=capacity,
            rotate=self._rotate,
            history_rows=history_rows,
            device=weight.device,
            dtype=weight.dtype,
        )

    def _rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        return rotary(positions, head_dim=self.head_dim, base=self.rope_base, dtype=keys.dtype)(keys)

    def param_groups(self):
        """Embeddings apart, so that a schedule can treat text and body differently."""
        body = [p for name, p in self.named_parameters() if not name.startswith("embed_tokens")]
        return [{"part": "backbone", "params": body}, {"part": "text", "params": list(self.embed_tokens.parameters())}]
