"""Speech whose length is left to the model: floor, gates and tail with a real tiny model, streamed and in batches."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from calm.errors import ConfigError
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.generation.plan import Call, make_plan
from calm.types import Task
from tests.factory import tiny_generator

HOP, RATE = 32, 16000
TEXT = "The bell rings twice."
#: what makes a gate fire on any audio: all but a new loudest piece is silence, or every stretch is like the one before
SILENT = {"silence_db": 0.0, "silence_seconds": 0.06, "tail_seconds": 0.01, "repetition_count": 0}
STUCK = {"repetition_similarity": -1.0, "repetition_count": 2, "silence_seconds": 0.0}
CLOSE = {"rtol": 0, "atol": 1e-5}


#: weights are made once: what generates does not change them
generator = functools.cache(tiny_generator)


def pipeline(model: str = "ar_flow", **sampler) -> AudioCALM:
    defaults = {"num_steps": 1, "max_seconds": 0.4, "stop_threshold": 2.0, "cfg_scale_speech": 1.0}
    return AudioCALM(generator(model), sampler=SamplerConfig(**{**defaults, **sampler}))


def streamed(calm: AudioCALM, text: str, **options) -> torch.Tensor:
    return torch.cat([piece.audio for piece in calm.generate_streaming(text, task="speech", **options)], dim=-1)


@pytest.mark.parametrize("characters", [0.0, 0.005])
def test_speech_does_not_stop_before_the_floor_that_its_text_sets(characters):
    calm = pipeline(stop_threshold=-1.0, min_seconds_per_character=characters, tail_seconds=0.0)
    clip = calm.generate(TEXT, task="speech")[0]
    floor = max(1, math.floor(characters * len(TEXT) * RATE / HOP))
    assert clip.finish_reason == "stop" and len(clip.latents) == floor and clip.audio.shape[-1] == floor * HOP


def test_a_cap_below_the_floor_wins():
    calm = pipeline(stop_threshold=-1.0, min_seconds_per_character=1.0, max_seconds=0.1)
    assert calm.generate(TEXT, task="speech")[0].finish_reason == "max_length"


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
@pytest.mark.parametrize(("settings", "reason"), [(SILENT, "silence"), (STUCK, "repetition")])
def test_a_gate_ends_each_clip_of_a_batch_by_itself_and_streaming_ends_alike(model, settings, reason):
    calm = pipeline(model, max_seconds=1.5, block_size=16, **settings)
    texts = [TEXT, "Rain.", "It is late, let us go home."]
    batch = calm.generate(texts, task="speech", seed=4)
    assert {clip.finish_reason for clip in batch} == {reason}
    for text, clip in zip(texts, batch, strict=True):
        alone = calm.generate(text, task="speech", seed=clip.seed)[0]
        assert alone.finish_reason == reason and alone.seconds < 1.5
        torch.testing.assert_close(alone.audio, clip.audio, **CLOSE)
        torch.testing.assert_close(streamed(calm, text, seed=clip.seed), clip.audio, **CLOSE)
        assert len(clip.latents) == -(-clip.audio.shape[-1] // HOP)
    assert reason == "repetition" or len({clip.audio.shape[-1] for clip in batch}) > 1


@pytest.mark.parametrize("block_size", [4, 16])
@pytest.mark.parametrize("ending", [{"stop_threshold": -1.0, "min_seconds_per_character": 0.01}, {}])
def test_a_trimmed_tail_is_the_same_streamed_and_whole(block_size, ending):
    """Sound below the threshold counts as silence, so tails are held back and let go many times."""
    options = {"silence_db": 0.0, "silence_seconds": 0.0, "repetition_count": 0, "block_size": block_size, **ending}
    lengths = set()
    for seed in range(2):
        whole = pipeline(tail_seconds=0.005, **options).generate(TEXT, task="speech", seed=seed)[0]
        pieces = streamed(pipeline(tail_seconds=0.005, **options), TEXT, seed=seed)
        torch.testing.assert_close(pieces, whole.audio, **CLOSE)
        untrimmed = pipeline(tail_seconds=0.0, **options).generate(TEXT, task="speech", seed=seed)[0]
        torch.testing.assert_close(untrimmed.audio[:, : whole.audio.shape[-1]], whole.audio, **CLOSE)
        assert whole.finish_reason == untrimmed.finish_reason == ("stop" if ending else "max_length")
        lengths.add(untrimmed.audio.shape[-1] - whole.audio.shape[-1])
    assert max(lengths) > 0


@pytest.mark.parametrize("settings", [SILENT, STUCK])
def test_an_exact_duration_and_music_are_not_checked_unless_asked(settings):
    calm = pipeline(max_seconds=1.5, block_size=16, **settings)
    exact = calm.generate(TEXT, task="speech", duration=0.9)[0]
    assert exact.finish_reason == "duration" and exact.audio.shape[-1] == round(0.9 * RATE)
    assert calm.generate("A piano.", task="music", cfg_scale=1.0)[0].finish_reason == "max_length"
    asked = pipeline(max_seconds=1.5, block_size=16, self_check=("music",), **settings)
    assert asked.generate("A piano.", task="music", cfg_scale=1.0)[0].finish_reason in ("silence", "repetition")
    assert asked.generate(TEXT, task="speech")[0].finish_reason == "max_length"


@pytest.mark.parametrize(("count", "plain", "repeated"), [(2, 2, 5), (6, 6, 6), (0, 0, 0)])
def test_a_text_that_repeats_itself_may_be_spoken(count, plain, repeated):
    calm, texts = pipeline(repetition_count=count), [TEXT, "No, no, no, no."]
    plan = make_plan(calm.model, calm.sampler, Call(text=texts, task=Task.SPEECH))
    assert [request.repetition_count for request in plan.requests] == [plain, repeated]


def test_audio_of_whole_blocks_is_what_the_vae_decodes_from_the_latents():
    clip = (calm := pipeline(block_size=4)).generate("rain", task="sound", duration=0.16, cfg_scale=1.0)[0]
    decoded = calm.model.vae.to_audio(clip.latents[None])[0].clamp(-1, 1)
    torch.testing.assert_close(clip.audio, decoded, **CLOSE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("self_check", ("speach",)),
        ("self_check", "speech"),
        ("silence_db", -1.0),
        ("silence_seconds", -1.0),
        ("tail_seconds", float("nan")),
        ("repetition_count", 1),
        ("repetition_similarity", 1.5),
        ("min_seconds_per_character", -0.1),
    ],
)
def test_a_setting_beyond_its_limit_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=f"where:   sampler.{key}"):
        SamplerConfig(**{key: value})
