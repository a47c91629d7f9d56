"""What every backbone offers: a causal transformer body that receives a mask and never makes one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from calm.backbone.cache import Cache
from calm.backbone.joint_cache import JointCache
from calm.part import Part
from calm.text import Tokenizer

__all__ = ["Backbone", "Residual"]

#: ``residual(layer, normed, hidden) -> hidden``: called in every layer after the shared FFN, with the
#: FFN's normed input and its output, both [B, N, D]. The root makes it from an expert; neither the
#: backbone nor the expert knows the other.
Residual = Callable[[int, Tensor, Tensor], Tensor]


class Backbone(Part):
    """Abstract body of the model.

    Attributes: ``dim`` (D), ``ffn_dim``, ``num_layers``, and ``tokenizer``, which turns text into the
    ids that ``embed_text`` takes.
    """

    dim: int
    ffn_dim: int
    num_layers: int
    tokenizer: Tokenizer

    @abstractmethod
    def embed_text(self, ids: Tensor) -> Tensor:
        """Token ids [B, T] -> rows [B, T, D]."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor,
        mask: Tensor | Sequence[Tensor | None] | None = None,
        residual: Residual | None = None,
        cache: Cache | JointCache | None = None,
    ) -> Tensor:
        """Run all layers and the final norm.

        Args:
            x: rows [B, N, D]. positions: rotary positions [B, N].
            mask: bool [B, N, Nk], True where a row may attend; None lets every row attend to every
                key. With a cache, Nk counts the cached rows first, then the N new ones. On CUDA a
                FlexAttention ``BlockMask`` is accepted as well.
            residual: per-layer hook of the expert.
            cache: keys and values of earlier rows. The new rows are written behind them as scratch:
                the next pass overwrites them unless the caller commits them. Rows attend through
                ``cache.attend``. Of a ``JointCache`` the masks are one per cache.

        Returns: hidden states [B, N, D].
        """

    @abstractmethod
    def new_cache(
        self, batch_size: int, *, capacity: int, history_rows: int | None = None, kind: Callable[..., Cache] = Cache
    ) -> Cache:
        """An empty cache for ``capacity`` rows (it grows when needed); see ``Cache``, or another ``kind`` of it."""
