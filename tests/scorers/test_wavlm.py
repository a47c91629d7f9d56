"""WavLM's speaker embeddings: checkpoints under original names, against the published equations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from calm.errors import CheckpointError
from calm.scorers.fairseq import rename, sizes_of
from calm.scorers.wavlm import XVECTOR_FILES, WavLMSpeaker, WavLMXVector
from calm.scorers.weights import Weights
from calm.types import Waveform
from tests.scorers.checkpoints import (
    BUCKETS,
    CONV,
    HEADS,
    KERNELS,
    MIDDLE,
    NUM_LAYERS,
    POSITION_GROUPS,
    POSITION_KERNEL,
    WIDTH,
    noise,
    save_xvector,
    wavlm_verification,
)

#: what Microsoft's names are called by transformers, letter by letter
PAIRS = {
    "layer_norm.weight": "feature_projection.layer_norm.weight",
    "post_extract_proj.bias": "feature_projection.projection.bias",
    "feature_extractor.conv_layers.4.0.weight": "feature_extractor.conv_layers.4.conv.weight",
    "feature_extractor.conv_layers.6.2.1.bias": "feature_extractor.conv_layers.6.layer_norm.bias",
    "feature_extractor.conv_layers.0.2.weight": "feature_extractor.conv_layers.0.layer_norm.weight",
    "encoder.layer_norm.bias": "encoder.layer_norm.bias",
    "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
    "encoder.pos_conv.0.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv.0.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    "encoder.layers.11.self_attn.q_proj.weight": "encoder.layers.11.attention.q_proj.weight",
    "encoder.layers.11.self_attn.out_proj.bias": "encoder.layers.11.attention.out_proj.bias",
    "encoder.layers.3.self_attn.grep_linear.weight": "encoder.layers.3.attention.gru_rel_pos_linear.weight",
    "encoder.layers.3.self_attn.grep_a": "encoder.layers.3.attention.gru_rel_pos_const",
    "encoder.layers.0.self_attn.relative_attention_bias.weight": "encoder.layers.0.attention.rel_attn_embed.weight",
    "encoder.layers.5.self_attn_layer_norm.weight": "encoder.layers.5.layer_norm.weight",
    "encoder.layers.5.fc1.weight": "encoder.layers.5.feed_forward.intermediate_dense.weight",
    "encoder.layers.5.fc2.bias": "encoder.layers.5.feed_forward.output_dense.bias",
    "encoder.layers.5.final_layer_norm.weight": "encoder.layers.5.final_layer_norm.weight",
}


def saved(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"model": state}, folder / "wavlm_large_finetune.pth")
    return folder / "wavlm_large_finetune.pth"


def batch_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    shape = (1, -1) if x.ndim == 2 else (1, -1, 1)
    mean, var, weight, bias = (state[f"{name}.{k}"].view(shape) for k in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def convolved(x: Tensor, state: dict[str, Tensor], name: str, *, dilation: int = 1, padding: int = 0) -> Tensor:
    return functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding, dilation=dilation)


def head_by_equations(features: Tensor, state: dict[str, Tensor]) -> Tensor:
    """ECAPA-TDNN (arXiv 2005.07143, section 3) with ReLU before batch normalisation; [D, F] -> [out]."""
    x = (features - features.mean(-1, keepdim=True)) / (features.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = batch_norm(convolved(x[None], state, "layer1.conv", padding=2).relu(), state, "layer1.bn")
    outputs = []
    for n in (2, 3, 4):
        name, before = f"layer{n}", x
        x = batch_norm(convolved(x, state, f"{name}.Conv1dReluBn1.conv").relu(), state, f"{name}.Conv1dReluBn1.bn")
        width = x.shape[1] // 8
        parts = [x[:, k * width : (k + 1) * width] for k in range(8)]
        for k in range(7):
            inner = f"{name}.Res2Conv1dReluBn"
            summed = parts[k] + parts[k - 1] if k else parts[k]
            found = convolved(summed, state, f"{inner}.convs.{k}", dilation=n, padding=n).relu()
            parts[k] = batch_norm(found, state, f"{inner}.bns.{k}")
        x = torch.cat(parts, 1)
        x = batch_norm(convolved(x, state, f"{name}.Conv1dReluBn2.conv").relu(), state, f"{name}.Conv1dReluBn2.bn")
        first, second = (f"{name}.SE_Connect.linear{k}" for k in (1, 2))
        squeezed = (x.mean(-1) @ state[f"{first}.weight"].T + state[f"{first}.bias"]).relu()
        gate = torch.sigmoid(squeezed @ state[f"{second}.weight"].T + state[f"{second}.bias"])
        x = before + x * gate[:, :, None]
        outputs.append(x)
    h = convolved(torch.cat(outputs, 1), state, "conv").relu()
    attention = convolved(convolved(h, state, "pooling.linear1").tanh(), state, "pooling.linear2").softmax(-1)
    mean = (attention * h).sum(-1)
    deviation = ((attention * h**2).sum(-1) - mean**2).clamp(min=1e-9).sqrt()
    pooled = batch_norm(torch.cat([mean, deviation], 1), state, "bn")
    return (pooled @ state["linear.weight"].T + state["linear.bias"])[0]


def embedding_by_equations(clip: Waveform, state: dict[str, Tensor], *, is_large: bool) -> Tensor:
    """Layers by hooks on transformers' WavLM, filled by the table above; the rest by hand."""
    from transformers import WavLMConfig, WavLMModel

    config = WavLMConfig(
        hidden_size=WIDTH, intermediate_size=MIDDLE, num_hidden_layers=NUM_LAYERS, num_attention_heads=HEADS,
        conv_dim=(CONV,) * 7, conv_kernel=KERNELS, num_conv_pos_embeddings=POSITION_KERNEL, num_buckets=BUCKETS,
        num_conv_pos_embedding_groups=POSITION_GROUPS, max_bucket_distance=800, mask_time_prob=0.0,
        feat_extract_norm="layer" if is_large else "group", do_stable_layer_norm=is_large,
    )  # fmt: skip
    model = WavLMModel(config).eval()
    model.load_state_dict({rename(k): v for k, v in encoder_of(state).items() if k != "mask_emb"})
    entered: list[Tensor] = []
    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0][0]))
    audio = clip.audio[0]
    audio = (audio - audio.mean()) / (audio.var(correction=0) + 1e-5).sqrt() if is_large else audio
    with torch.no_grad():
        last = model(audio[None]).last_hidden_state[0]  # fills `entered`
        layers = torch.stack([*entered, last])
    weights = state["feature_weight"].exp() / state["feature_weight"].exp().sum()
    return functional.normalize(head_by_equations((weights[:, None, None] * layers).sum(0).T + 1e-6, state), dim=0)


def encoder_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "feature_extract.model."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def test_original_names_become_those_of_transformers():
    assert {name: rename(name) for name in PAIRS} == PAIRS


@pytest.mark.parametrize("kind", ["wavlm_large", "wavlm_base"])
def test_an_embedding_follows_the_published_equations(kind, tmp_path):
    state, clip = wavlm_verification(kind, seed=1), noise(1.1, seed=2)
    found = WavLMSpeaker(saved(tmp_path, state)).embed(clip)
    expected = embedding_by_equations(clip, state, is_large=kind == "wavlm_large")
    assert found.shape == (12,) and float(found.norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_the_level_of_a_clip_does_not_matter_to_the_large_kind(tmp_path):
    encoder, clip = WavLMSpeaker(saved(tmp_path, wavlm_verification())), noise(1.0)
    louder = Waveform(audio=3 * clip.audio, sample_rate=16_000)
    assert float(encoder.embed(clip) @ encoder.embed(louder)) == pytest.approx(1, abs=1e-4)


def test_sizes_of_wavlm_large_are_read_from_shapes_alone():
    with torch.device("meta"):
        shapes = {f"feature_extractor.conv_layers.{n}.0.weight": torch.empty(512, 512 if n else 1, k) for n, k in enumerate(KERNELS)}
        shapes |= {f"encoder.layers.{n}.fc1.weight": torch.empty(4096, 1024) for n in range(24)}
        shapes |= {"encoder.layer_norm.weight": torch.empty(1024), "encoder.pos_conv.0.weight_v": torch.empty(1024, 64, 128)}
        shapes |= {"feature_extractor.conv_layers.0.2.1.weight": torch.empty(512)}
        shapes |= {"encoder.layers.0.self_attn.grep_a": torch.empty(1, 16, 1, 1)}
    # config.json of microsoft/wavlm-large
    assert sizes_of(shapes) == {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "conv_dim": (512,) * 7, "conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_stride": (5, 2, 2, 2, 2, 2, 2),
        "conv_bias": False, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
        "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: s.pop("feature_weight"), "feature_weight"),
        (lambda s: s.pop("feature_extract.model.encoder.layers.1.fc2.bias"), "output_dense"),
        (lambda s: s.update({"layer9.conv.weight": torch.zeros(1)}), "layer9"),
        (lambda s: s.update({"linear.bias": torch.zeros(3)}), "linear.bias"),
        (lambda s: s.clear(), "feature_weight"),
    ],
)
def test_another_checkpoint_is_refused_with_what_it_lacks(damage, reason, tmp_path):
    state = wavlm_verification()
    damage(state)
    with pytest.raises(CheckpointError, match=reason):
        WavLMSpeaker(saved(tmp_path, state))


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "wavlm_large_finetune.pth"
    path.write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="cannot be read"):
        WavLMSpeaker(path)


def test_x_vectors_are_transformers_own_scaled_to_one(tmp_path):
    from transformers import WavLMForXVector

    folder, clip = save_xvector(tmp_path / "xvector"), noise(0.9, seed=3, sample_rate=16_000)
    model = WavLMForXVector.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(clip.audio).embeddings[0]
    found = WavLMXVector(Weights("owner/name", files=XVECTOR_FILES, folder=folder)).embed(clip)
    torch.testing.assert_close(found, expected / expected.norm(), rtol=0, atol=1e-6)
