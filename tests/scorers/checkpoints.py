"""Tiny checkpoints with random weights, in the files and under the names of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from calm._torchaudio import install
from calm.types import Waveform

install()

CONV, WIDTH, MIDDLE, NUM_LAYERS, HEADS, BUCKETS = 24, 128, 48, 2, 2, 32
POSITION_KERNEL, POSITION_GROUPS = 16, 4
KERNELS = (10, 3, 3, 3, 3, 2, 2)


def noise(seconds: float, *, seed: int = 0, sample_rate: int = 16_000) -> Waveform:
    rng = torch.Generator().manual_seed(seed)
    return Waveform(audio=0.1 * torch.randn(1, int(seconds * sample_rate), generator=rng), sample_rate=sample_rate)


class Original:
    """Random tensors under original names. ``kind``: ``wavlm_large``, ``wavlm_base`` or ``wav2vec2_base``."""

    def __init__(self, *, seed: int = 0) -> None:
        self._rng = torch.Generator().manual_seed(seed)

    def tensor(self, *shape: int, scale: float = 0.1) -> Tensor:
        return scale * torch.randn(*shape, generator=self._rng)

    def pair(self, name: str, *shape: int, near: float = 0.0) -> dict[str, Tensor]:
        return {f"{name}.weight": near + self.tensor(*shape), f"{name}.bias": self.tensor(shape[0])}

    def batch_norm(self, name: str, width: int) -> dict[str, Tensor]:
        return {
            **self.pair(name, width, near=1.0),
            f"{name}.running_mean": self.tensor(width),
            f"{name}.running_var": 1 + self.tensor(width).abs(),
            f"{name}.num_batches_tracked": torch.tensor(7),
        }

    def encoder(self, kind: str) -> dict[str, Tensor]:
        state = {"mask_emb": self.tensor(WIDTH), **self.pair("layer_norm", CONV, near=1.0)}
        state |= self.pair("post_extract_proj", WIDTH, CONV) | self.pair("encoder.layer_norm", WIDTH, near=1.0)
        for n, kernel in enumerate(KERNELS):
            name = f"feature_extractor.conv_layers.{n}"
            state[f"{name}.0.weight"] = self.tensor(CONV, CONV if n else 1, kernel, scale=0.5)
            if kind == "wavlm_large":
                state |= self.pair(f"{name}.2.1", CONV, near=1.0)
            elif n == 0:
                state |= self.pair(f"{name}.2", CONV, near=1.0)
        state["encoder.pos_conv.0.bias"] = self.tensor(WIDTH)
        state["encoder.pos_conv.0.weight_g"] = 1 + self.tensor(1, 1, POSITION_KERNEL)
        state["encoder.pos_conv.0.weight_v"] = self.tensor(WIDTH, WIDTH // POSITION_GROUPS, POSITION_KERNEL)
        for n in range(NUM_LAYERS):
            state |= self._layer(f"encoder.layers.{n}", is_first=n == 0, is_gated=kind.startswith("wavlm"))
        return state

    def _layer(self, name: str, *, is_first: bool, is_gated: bool) -> dict[str, Tensor]:
        state = {}
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state |= self.pair(f"{name}.self_attn.{part}", WIDTH, WIDTH)
        if is_gated:
            state |= self.pair(f"{name}.self_attn.grep_linear", 8, WIDTH // HEADS)
            state[f"{name}.self_attn.grep_a"] = 1 + self.tensor(1, HEADS, 1, 1)
            if is_first:
                state[f"{name}.self_attn.relative_attention_bias.weight"] = self.tensor(BUCKETS, HEADS)
        state |= self.pair(f"{name}.fc1", MIDDLE, WIDTH) | self.pair(f"{name}.fc2", WIDTH, MIDDLE)
        return state | self.pair(f"{name}.self_attn_layer_norm", WIDTH, near=1.0) | self.pair(
            f"{name}.final_layer_norm", WIDTH, near=1.0
        )

    def head(self, *, channels: int = 16, pooled: int = 20, out: int = 12, gate: int = 6, scale: int = 8) -> dict[str, Tensor]:
        state = {"feature_weight": self.tensor(NUM_LAYERS + 1, scale=1.0)}
        state |= self.pair("layer1.conv", channels, WIDTH, 5) | self.batch_norm("layer1.bn", channels)
        for n in (2, 3, 4):
            for part in ("Conv1dReluBn1", "Conv1dReluBn2"):
                state |= self.pair(f"layer{n}.{part}.conv", channels, channels, 1)
                state |= self.batch_norm(f"layer{n}.{part}.bn", channels)
            for k in range(scale - 1):
                width = channels // scale
                state |= self.pair(f"layer{n}.Res2Conv1dReluBn.convs.{k}", width, width, 3)
                state |= self.batch_norm(f"layer{n}.Res2Conv1dReluBn.bns.{k}", width)
            state |= self.pair(f"layer{n}.SE_Connect.linear1", gate, channels)
            state |= self.pair(f"layer{n}.SE_Connect.linear2", channels, gate)
        state |= self.pair("conv", pooled, 3 * channels, 1)
        state |= self.pair("pooling.linear1", gate, pooled, 1) | self.pair("pooling.linear2", pooled, gate, 1)
        return state | self.batch_norm("bn", 2 * pooled) | self.pair("linear", out, 2 * pooled)


def wavlm_verification(kind: str = "wavlm_large", *, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a file like ``wavlm_large_finetune.pth``, below its key ``model``."""
    original = Original(seed=seed)
    encoder = {f"feature_extract.model.{name}": value for name, value in original.encoder(kind).items()}
    return {**encoder, **original.head(), "loss_calculator.projection.weight": original.tensor(3, 12)}


def utmos(*, seed: int = 0, context: int = 8, hidden: int = 10) -> dict[str, Tensor]:
    """The tensors of a file like ``utmos22_strong_step7459_v1.pt``."""
    original = Original(seed=seed)
    state = {f"wav2vec2.{name}": value for name, value in original.encoder("wav2vec2_base").items()}
    state |= {"domain_emb": original.tensor(1, context), "judge_emb": original.tensor(1, context)}
    for end in ("", "_reverse"):
        state[f"blstm.weight_ih_l0{end}"] = original.tensor(4 * hidden, WIDTH + 2 * context)
        state[f"blstm.weight_hh_l0{end}"] = original.tensor(4 * hidden, hidden)
        state |= {f"blstm.bias_{part}_l0{end}": original.tensor(4 * hidden) for part in ("ih", "hh")}
    return state | original.pair("projection.0", 14, 2 * hidden) | original.pair("projection.2", 1, 14)


def save_whisper(folder: Path, *, chunk_seconds: int = 2, is_multilingual: bool = True) -> Path:
    """Whisper's files: half precision weights, byte tokens, the special tokens' real names."""
    from tokenizers import pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
               "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
    ids = {token: n for n, token in enumerate([*letters, *special])}
    tokenizer = WhisperTokenizer(vocab={t: ids[t] for t in [*letters, special[0]]}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    assert {t: tokenizer.convert_tokens_to_ids(t) for t in special} == {t: ids[t] for t in special}
    config = WhisperConfig(
        vocab_size=len(ids), num_mel_bins=16, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=50 * chunk_seconds,
        max_target_positions=32, eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"], decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    model = drawn(WhisperForConditionalGeneration(config), seed=3, scale=0.7)
    languages = {"lang_to_id": {t: ids[t] for t in ("<|en|>", "<|de|>")}} if is_multilingual else {}
    tasks = {"task_to_id": {t: ids[f"<|{t}|>"] for t in ("transcribe", "translate")}} if is_multilingual else {}
    model.generation_config = GenerationConfig(
        is_multilingual=is_multilingual, no_timestamps_token_id=ids["<|notimestamps|>"], max_length=24,
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, bos_token_id=config.bos_token_id,
        decoder_start_token_id=config.decoder_start_token_id, **languages, **tasks,
    )  # fmt: skip
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=chunk_seconds).save_pretrained(folder)
    return folder


def save_hubert(folder: Path) -> Path:
    """HuBERT's files: ``pytorch_model.bin``, letters in ``vocab.json``."""
    from transformers import HubertConfig, HubertForCTC, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

    vocab = {token: n for n, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), word_delimiter_token="|").save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    config = HubertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, feat_extract_norm="layer",
        do_stable_layer_norm=True, conv_bias=True, pad_token_id=0,
    )  # fmt: skip
    _save(HubertForCTC, config, folder)
    return folder


def save_xvector(folder: Path) -> Path:
    """The files of wavlm-base-plus-sv: ``pytorch_model.bin``, a feature extractor that does not normalise."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    folder.mkdir(parents=True, exist_ok=True)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    config = WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, tdnn_dim=(24, 24, 24, 24, 40), xvector_output_dim=20,
        use_weighted_layer_sum=True,
    )  # fmt: skip
    _save(WavLMForXVector, config, folder)
    return folder


def _save(kind: type, config: object, folder: Path) -> None:
    config.save_pretrained(folder)
    torch.save(drawn(kind(config), seed=5, scale=0.3).state_dict(), folder / "pytorch_model.bin")


def drawn(model: torch.nn.Module, *, seed: int, scale: float) -> torch.nn.Module:
    """The model with weights from a generator of its own; those of norms are near 1."""
    rng = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        is_norm = name.endswith("norm.weight")
        weight.data = (1.0 if is_norm else 0.0) + (0.1 if is_norm else scale) * torch.randn(weight.shape, generator=rng)
    return model
