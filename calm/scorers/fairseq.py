"""Encoders of the wav2vec 2.0 family from checkpoints of fairseq and of Microsoft's WavLM, as transformers' models.

The sizes are read from the shapes, the names are mapped one to one: nothing else has to be known of a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from calm._torchaudio import install
from calm.errors import CheckpointError

__all__ = ["encoder_from", "load_exactly", "normalised", "rename", "sizes_of"]

#: strides of the seven convolutions of all of the family; shapes do not tell them
STRIDES = (5, 2, 2, 2, 2, 2, 2)
#: distances of WavLM's relative positions are pooled up to this one; wav2vec 2.0 heads are 64 wide
MAX_DISTANCE, HEAD_WIDTH = 800, 64

_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
        (r"layer_norm\.", "feature_projection.layer_norm."),
        (r"post_extract_proj\.", "feature_projection.projection."),
        (r"encoder\.pos_conv\.0\.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
        (r"encoder\.pos_conv\.0\.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
        (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"encoder\.layers\.(\d+)\.self_attn\.grep_linear\.", r"encoder.layers.\1.attention.gru_rel_pos_linear."),
        (r"encoder\.layers\.(\d+)\.self_attn\.grep_a", r"encoder.layers.\1.attention.gru_rel_pos_const"),
        (r"encoder\.layers\.(\d+)\.self_attn\.relative_attention_bias\.", r"encoder.layers.\1.attention.rel_attn_embed."),
        (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
        (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
        (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
        (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    )
)


def rename(name: str) -> str:
    """The name that transformers gives to a tensor of the original checkpoint."""
    for pattern, replacement in _RULES:
        if found := pattern.match(name):
            return found.expand(replacement) + name[found.end() :]
    return name


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of transformers' ``WavLMConfig`` or ``Wav2Vec2Config`` for a checkpoint with original names.

    A checkpoint whose convolutions all have a layer norm is a large one: its transformer normalises first, and its
    input is brought to zero mean and unit variance. Raises CheckpointError where tensors lack.
    """
    try:
        convolutions = [state[f"feature_extractor.conv_layers.{n}.0.weight"] for n in range(len(STRIDES))]
        width, position = state["encoder.layer_norm.weight"].shape[0], state["encoder.pos_conv.0.weight_v"]
        is_large = "feature_extractor.conv_layers.0.2.1.weight" in state
        gate = state.get("encoder.layers.0.self_attn.grep_a")
        return {
            "hidden_size": width,
            "intermediate_size": state["encoder.layers.0.fc1.weight"].shape[0],
            "num_hidden_layers": len([name for name in state if re.fullmatch(r"encoder\.layers\.\d+\.fc1\.weight", name)]),
            "num_attention_heads": max(1, width // HEAD_WIDTH) if gate is None else gate.shape[1],
            "conv_dim": tuple(weight.shape[0] for weight in convolutions),
            "conv_kernel": tuple(weight.shape[2] for weight in convolutions),
            "conv_stride": STRIDES,
            "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state,
            "num_conv_pos_embeddings": position.shape[2],
            "num_conv_pos_embedding_groups": width // position.shape[1],
            "feat_extract_norm": "layer" if is_large else "group",
            "do_stable_layer_norm": is_large,
        }
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"The checkpoint lacks a part of the encoder ({error})", allowed="names of fairseq's wav2vec 2.0 or of WavLM"
        ) from None


def encoder_from(state: Mapping[str, Tensor]) -> nn.Module:
    """Build the encoder of a checkpoint: WavLM where it has gated relative positions, else wav2vec 2.0; in eval mode.

    Raises CheckpointError where a tensor lacks or has no place. The embedding of masked frames is not used.
    """
    install()
    from transformers import Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

    # Masks are for training: without them the model has no embedding for them.
    options = {**sizes_of(state), "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    buckets = state.get("encoder.layers.0.self_attn.relative_attention_bias.weight")
    if buckets is None:
        model: nn.Module = Wav2Vec2Model(Wav2Vec2Config(**options))
    else:
        model = WavLMModel(WavLMConfig(**options, num_buckets=buckets.shape[0], max_bucket_distance=MAX_DISTANCE))
    load_exactly(model, {rename(name): value for name, value in state.items() if name != "mask_emb"}, what="encoder")
    return model.float().eval()


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Load all tensors of a module, no more and no fewer; else CheckpointError names the first of them."""
    try:
        found = module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # shapes
        raise CheckpointError(f"The {what} does not fit the checkpoint ({error})") from None
    if found.missing_keys or found.unexpected_keys:
        missing, unknown = (", ".join(names[:3]) or "none" for names in (found.missing_keys, found.unexpected_keys))
        raise CheckpointError(f"The {what} does not fit the checkpoint: missing {missing}; unknown {unknown}")


def normalised(audio: Tensor) -> Tensor:
    """``audio`` [S] at zero mean and unit variance, as the large encoders take it."""
    return torch.nn.functional.layer_norm(audio, audio.shape)
