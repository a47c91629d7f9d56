"""What autograd keeps of a generator's forward pass until the backward pass, in bytes: an analytic count.

Letters: D width, Q = H d and K = H_kv d widths of queries and keys, F width of the FFN, E of the expert's, W of the
head's, C latent channels; e bytes of a product's result (2 in a mixed precision, else 4), n bytes of what norms and
the residual stream are in (4, also under autocast). For every row of the sequence and every layer:

    norms          2 n D (input), on a CPU 2 n D more (its RMSNorm is not fused: also the product of the norm)
    projections    e D, in a mixed precision 3 e D (each of q, k, v casts the normed row anew)
    norms of q, k  e (Q + K); on a CPU n (2 Q + 2 K)
    rotary         4 d in a mixed precision (casts of cosines and sines)
    attention      fused:     e (2 Q + 2 K), and the mask as numbers, e N (not with FlexAttention); on a CPU e Q more
                   products:  e (4 Q + H N) + N: what a CPU does in bfloat16
    FFN            e (D + 4 F), in a mixed precision e D more
    expert         e (D + 4 E), for the rows of speech alone

Beside the layers: the embedding of audio rows e C, that of times e (256 + 2 D) for each noisy block, the final norm,
the head (a formula for each head), the stop head 8 D, the targets. Counts of the CPU were compared with the tensors that autograd saves
(tests/doctor/test_activations.py). Those of CUDA follow the kernels' definitions and were compared on an H200 with torch
2.11, where grouped heads under a dense mask are fused as well (docs/SPEED.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from calm.doctor.precision import Precision
from calm.head.mlp import MLPHead
from calm.head.rectified_flow import RectifiedFlowHead
from calm.model.generator import Generator

__all__ = ["BatchShape", "activation_bytes"]

#: values of the sinusoids of a time embedding
SINUSOIDS = 256


@dataclass(frozen=True, kw_only=True)
class BatchShape:
    """Sizes of one rank's batch: ``clips`` B, ``prefix`` reference and text rows, ``reference`` rows of these,
    ``frames`` target frames, ``speech`` clips of speech while the expert is on. Padded lengths; all per clip but the
    numbers of clips."""

    clips: int
    prefix: int
    reference: int
    frames: int
    speech: int


def activation_bytes(
    root: Generator, shape: BatchShape, precision: Precision, *, device: str, recompute: str = "none"
) -> int | None:
    """Return the bytes that are saved for the backward pass of one batch; None for a backbone that is not known here.

    Args:
        device: "cpu" or "cuda".
        recompute: "layers" where layers are computed again in the backward pass: each then keeps its input alone, and
            one at a time all of its own.
    """
    body = _body(root)
    if body is None:
        return None
    config = root.config
    e, n, dim, latent = precision.products, precision.norms, root.backbone.dim, root.vae.latent_dim
    in_backbone = config.name != "head_flow"
    copies = config.num_noisy_copies
    audio = shape.frames * (1 + copies if in_backbone else 1)
    rows = shape.prefix + audio + (0 if in_backbone else max(config.block_sizes))
    # Clips of one length are not packed (`calm.sequence.packing`).
    kernel = _kernel(root, rows, precision, device=device)
    # Layers at once, besides the inputs that the others keep.
    whole, inputs = (1, body.num_layers) if recompute == "layers" else (body.num_layers, 0)
    per_row = whole * _layer(body, rows, precision, kernel=kernel, on_cpu=device == "cpu") + inputs * n * dim
    final = (2 if device == "cpu" else 1) * n * dim
    # Frames of one block share their time, and so do the clean ones of a clip, and its reference.
    blocks = shape.frames * copies / max(config.block_sizes)
    times = (blocks if in_backbone else 0) + 2
    embedded = (audio + shape.reference) * e * latent + times * e * (SINUSOIDS + 2 * dim)
    head = shape.frames * copies * _head(root, e=e, n=n) + blocks * _head_times(root, e=e)
    targets = shape.frames * (8 * dim + 4 * latent * (2 + 4 * copies))
    mask = 0 if kernel == "flex" else rows * rows
    each = rows * (per_row + final) + embedded + head + targets + mask
    expert = shape.speech * _expert(root, audio + shape.reference, e=e)
    return shape.clips * each + (expert // body.num_layers if recompute == "layers" else expert)


@dataclass(frozen=True, kw_only=True)
class _Body:
    dim: int
    heads: int
    head_dim: int
    query: int
    key: int
    ffn: int
    num_layers: int


def _body(root: Generator) -> _Body | None:
    """Sizes of a backbone made of `calm.backbone.layers.Layer`: `transformer`, `qwen3`."""
    layers = getattr(root.backbone, "layers", None)
    if not layers or not hasattr(layers[0], "self_attn"):
        return None
    attention = layers[0].self_attn
    query = attention.q_proj.out_features
    return _Body(
        dim=root.backbone.dim,
        heads=query // attention.head_dim,
        head_dim=attention.head_dim,
        query=query,
        key=attention.k_proj.out_features,
        ffn=root.backbone.ffn_dim,
        num_layers=len(layers),
    )


def _kernel(root: Generator, rows: int, precision: Precision, *, device: str) -> str:
    if root.config.kernel(device, num_rows=rows) == "flex":
        return "flex"
    return "products" if device == "cpu" and precision.products == 2 else "fused"


def _layer(body: _Body, rows: int, precision: Precision, *, kernel: str, on_cpu: bool) -> float:
    """Bytes of one row in one layer, in a sequence of so many rows."""
    e, n, mixed = precision.products, precision.norms, precision.is_mixed
    dim, query, key = body.dim, body.query, body.key
    norms = (4 if on_cpu else 2) * n * dim
    heads = n * 2 * (query + key) if on_cpu else e * (query + key)
    projections = e * dim * (3 if mixed else 1) + (4 * body.head_dim if mixed else 0)
    attention = {
        "flex": e * (2 * query + 2 * key),
        "fused": e * (2 * query + 2 * key + (query if on_cpu else 0) + rows),
        "products": e * (4 * query + body.heads * rows) + rows,
    }[kernel]
    ffn = e * (dim * (2 if mixed else 1) + 4 * body.ffn)
    return norms + heads + projections + attention + ffn


def _head(root: Generator, *, e: int, n: int) -> float:
    """Bytes of one noisy frame in the head; a head that is not known here counts as twice its outputs."""
    dim, latent, head = root.backbone.dim, root.vae.latent_dim, root.head
    if isinstance(head, RectifiedFlowHead):
        width = head.mlp[0].out_features
        return e * (2 * dim + 2 * width + latent) + 2 * n * dim
    if isinstance(head, MLPHead):
        width = head.out.in_features
        return e * (dim + latent + width * (4 + 10 * len(head.blocks)))
    outputs = sum(p.shape[0] for name, p in head.named_parameters() if p.ndim == 2)
    return 2 * n * outputs


def _head_times(root: Generator, *, e: int) -> float:
    """Bytes of one noisy block in what the head makes of its time."""
    dim, head = root.backbone.dim, root.head
    if isinstance(head, RectifiedFlowHead):
        return e * (SINUSOIDS + 5 * dim)
    return e * (SINUSOIDS + 2 * head.out.in_features) if isinstance(head, MLPHead) else 0


def _expert(root: Generator, rows: int, *, e: int) -> float:
    """Bytes of the expert for the audio rows of one clip of speech."""
    if root.expert is None:
        return 0
    matrices = [p for p in root.expert.parameters() if p.ndim == 2]
    tasks = max(1, len(root.expert.tasks))
    width = sum(p.shape[0] for p in matrices if p.shape[1] == root.backbone.dim) // (2 * tasks)
    return rows * e * (len(root.expert.layers) * root.backbone.dim + 4 * width)
