"""Tiny random pipelines of the real classes, saved to folders: what the adapters load in tests."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

from calm._torchaudio import install

install()


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    letters = [(letter, -3.0) for letter in string.ascii_letters + string.digits + ".,-"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("\u2581", -2.0), *letters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=25)


def t5(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    size = len(t5_tokenizer())
    return T5EncoderModel(T5Config(vocab_size=size, d_model=width, d_ff=8, d_kv=4, num_heads=2, num_layers=1))


def musicgen(folder: Path) -> Path:
    """8 kHz mono, 25 frames a second, two codebooks."""
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        MusicgenProcessor,
    )

    decoder = MusicgenDecoderConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        num_codebooks=2,
        pad_token_id=32,
        bos_token_id=32,
    )
    codec = EncodecConfig(
        sampling_rate=8000,
        codebook_size=32,
        codebook_dim=16,
        hidden_size=16,
        num_filters=4,
        num_lstm_layers=1,
        target_bandwidths=[2.0],
    )
    config = MusicgenConfig(text_encoder=t5(16).config.to_dict(), audio_encoder=codec.to_dict(), decoder=decoder.to_dict())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MusicgenForConditionalGeneration(config)
        # Untrained codebooks are zeros: every token would sound alike.
        for layer in model.audio_encoder.quantizer.layers:
            layer.codebook.embed.normal_()
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, 32)
    model.save_pretrained(folder)
    feature_extractor = EncodecFeatureExtractor(sampling_rate=8000)
    MusicgenProcessor(feature_extractor=feature_extractor, tokenizer=t5_tokenizer()).save_pretrained(folder)
    return folder


def stable_audio(folder: Path) -> Path:
    """8 kHz stereo, at most 64 samples; another sampler than the real one's, which needs a further package."""
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )

    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableAudioPipeline(
            transformer=StableAudioDiTModel(
                sample_size=128,
                in_channels=3,
                out_channels=3,
                num_layers=1,
                attention_head_dim=4,
                num_attention_heads=2,
                num_key_value_attention_heads=2,
                cross_attention_dim=4,
                cross_attention_input_dim=4,
                time_proj_dim=8,
                global_states_input_dim=8,
            ),
            scheduler=EDMDPMSolverMultistepScheduler(sigma_data=1.0, sigma_schedule="exponential"),
            vae=AutoencoderOobleck(
                encoder_hidden_size=6,
                downsampling_ratios=[1, 2],
                decoder_channels=3,
                decoder_input_channels=3,
                audio_channels=2,
                channel_multiples=[2, 4],
                sampling_rate=8000,
            ),
            text_encoder=t5(8),
            tokenizer=t5_tokenizer(),
            projection_model=StableAudioProjectionModel(8, 4, 0, 32),
        )
    pipeline.save_pretrained(folder)
    return folder


def audioldm2(folder: Path) -> Path:
    """16 kHz mono; the language model is a GPT2Model, as in the published weights."""
    from diffusers import (
        AudioLDM2Pipeline,
        AudioLDM2ProjectionModel,
        AudioLDM2UNet2DConditionModel,
        AutoencoderKL,
        DDIMScheduler,
    )
    from transformers import ClapFeatureExtractor, GPT2Config, GPT2Model, SpeechT5HifiGan, SpeechT5HifiGanConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        language_model = GPT2Model(GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=20, n_positions=99))
        language_model.config.max_new_tokens = 8
        vocoder = SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=16000,
            upsample_initial_channel=16,
            upsample_rates=[2, 2],
            upsample_kernel_sizes=[4, 4],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3, 5]],
            normalize_before=False,
        )
        pipeline = AudioLDM2Pipeline(
            unet=AudioLDM2UNet2DConditionModel(
                block_out_channels=(8, 16),
                layers_per_block=1,
                norm_num_groups=8,
                sample_size=32,
                in_channels=8,
                out_channels=8,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=([None, 8, 16], [None, 8, 16]),
            ),
            scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
            vae=AutoencoderKL(
                block_out_channels=[8, 16],
                norm_num_groups=8,
                in_channels=1,
                out_channels=1,
                down_block_types=["DownEncoderBlock2D"] * 2,
                up_block_types=["UpDecoderBlock2D"] * 2,
                latent_channels=8,
            ),
            text_encoder=_clap(),
            text_encoder_2=t5(16),
            tokenizer=_roberta_tokenizer(),
            tokenizer_2=t5_tokenizer(),
            feature_extractor=ClapFeatureExtractor(),
            language_model=language_model,
            projection_model=AudioLDM2ProjectionModel(8, 16, 8),
            vocoder=SpeechT5HifiGan(vocoder),
        )
    pipeline.save_pretrained(folder)
    return folder


def _roberta_tokenizer() -> Any:
    from transformers import RobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(chr(code) for code in range(33, 127)), "\u0120"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _clap() -> Any:
    from transformers import ClapConfig, ClapModel

    text = {
        "vocab_size": len(_roberta_tokenizer()),
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "projection_dim": 8,
        "max_position_embeddings": 96,
        "pad_token_id": 1,
    }
    audio = {
        "depths": [1, 1],
        "num_attention_heads": [1, 1],
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "projection_dim": 8,
        "patch_size": 2,
        "patch_stride": 2,
    }
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=8))
