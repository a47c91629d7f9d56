"""The one mask of AR-Flow: who may see whom, as a pure predicate over row metadata.

Training asks it for all rows at once; generation asks it for the rows of the new block against the
cache. Causal across blocks, bidirectional within a block (paper, Fig. 1; METHOD 2.2).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from calm.sequence.layout import CLEAN, REFERENCE, TARGET, TEXT, Rows

__all__ = ["allow", "block_mask", "mask_function"]

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
    """The mask of a training sequence as a FlexAttention ``BlockMask`` (CUDA: its backward needs it)."""
    from torch.nn.attention.flex_attention import create_block_mask

    batch, length = rows.kind.shape
    return create_block_mask(
        mask_function(rows, rows, history=history), batch, None, length, length, device=rows.kind.device
    )


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
