"""The one mask of AR-Flow: who may see whom, as a pure predicate over row metadata.

Training asks it for all rows at once; generation asks it for the rows of the new block against the
cache. Causal across blocks, bidirectional within a block (paper, Fig. 1; METHOD 2.2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from calm.sequence.layout import CLEAN, REFERENCE, TARGET, TEXT, Rows

__all__ = ["allow", "block_mask", "mask_function"]

#: rows and columns of a tile of a ``BlockMask``
TILE = 128

_FIELDS = ("kind", "order", "copy", "block", "document")


def allow(queries: Rows, keys: Rows, *, history: int | None = None) -> Tensor:
    """Return bool [B, Nq, Nk]: whether each query row may attend to each key row.

    Args:
        queries, keys: row metadata of the same batch.
        history: number of earlier blocks that a target row sees; None for all of them.
    """
    query = {name: getattr(queries, name)[:, :, None] for name in _FIELDS}
    key = {name: getattr(keys, name)[:, None, :] for name in _FIELDS}
    return _rule(query, key, keys.valid[:, None, :], history)


def mask_function(queries: Rows, keys: Rows, *, history: int | None = None) -> Callable[..., Tensor]:
    """The same predicate as a ``mask_mod(b, h, q, k)`` of FlexAttention."""

    def mask_mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        query = {name: getattr(queries, name)[b, q] for name in _FIELDS}
        key = {name: getattr(keys, name)[b, k] for name in _FIELDS}
        return _rule(query, key, keys.valid[b, k], history)

    return mask_mod


def block_mask(rows: Rows, *, history: int | None = None):
    """The mask of a training sequence as a FlexAttention ``BlockMask`` (CUDA: its backward needs it).

    Which tiles are empty, whole or mixed is read off the mask itself: asking the predicate row by row, as
    ``create_block_mask`` does, takes 25 ms on the host, as long as the attention of ten layers.
    """
    from torch.nn.attention.flex_attention import BlockMask

    tiles = _tiles(allow(rows, rows, history=history))
    mixed, whole = (tiles > 0) & (tiles < TILE * TILE), tiles == TILE * TILE
    return BlockMask.from_kv_blocks(
        *_listed(mixed), *_listed(whole), BLOCK_SIZE=TILE, mask_mod=mask_function(rows, rows, history=history),
        seq_lengths=(rows.kind.shape[1], rows.kind.shape[1]),
    )  # fmt: skip


def _tiles(mask: Tensor) -> Tensor:
    """Visible pairs in every tile of bool [B, Nq, Nk] -> int64 [B, Tq, Tk]; rows that fill up the last tile see nothing."""
    missing_q, missing_k = (-size % TILE for size in mask.shape[1:])
    filled = F.pad(mask, (0, missing_k, 0, missing_q))
    return reduce(filled, "b (q x) (k y) -> b q k", "sum", x=TILE, y=TILE)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many tiles of every row are chosen, and their places, those first: [B, 1, Tq] and [B, 1, Tq, Tk]."""
    chosen = chosen[:, None]
    places = torch.argsort(chosen.int(), dim=-1, descending=True, stable=True)
    return chosen.sum(dim=-1, dtype=torch.int32), places.int()


def _rule(q: dict[str, Tensor], k: dict[str, Tensor], k_valid: Tensor, history: int | None) -> Tensor:
    q_target, q_text = q["kind"] == TARGET, q["kind"] == TEXT
    k_target, k_text, k_reference = k["kind"] == TARGET, k["kind"] == TEXT, k["kind"] == REFERENCE
    # 1. The prefix: the target sees all of it; the reference sees itself only, so its cache serves
    #    any text; text sees the reference and the text so far.
    prefix = (k_reference | (k_text & q_target)) | (q_text & k_text & (k["order"] <= q["order"]))
    # 2. The clean past, never a noisy copy of it.
    past = q_target & k_target & (k["copy"] == CLEAN) & (k["block"] < q["block"])
    if history is not None:
        past = past & (k["block"] >= q["block"] - history)
    # 3. The row's own block in its own copy, in both directions.
    own = q_target & k_target & (q["copy"] == k["copy"]) & (q["block"] == k["block"])
    # Every row sees itself. For valid rows that follows from the rules; a padding row without any key
    # would leave what the softmax makes of it to the kernel.
    itself = (q["kind"] == k["kind"]) & (q["copy"] == k["copy"]) & (q["order"] == k["order"])
    return (((prefix | past | own) & k_valid) | itself) & (q["document"] == k["document"])
