"""A stuck clip is found in its latents; silence, held sounds and repeated words of the text are none."""

from __future__ import annotations

import numpy as np
import pytest

from calm.generation.repetition import RepetitionGate, repeats, spoken_repeats

FRAME_RATE, CHANNELS = 12.5, 16


def speech(frames: int, *, seed: int = 0) -> np.ndarray:
    """Latents [F, C] that vary like speech: correlated over a few frames."""
    noise = np.random.default_rng(seed).standard_normal((frames + 2, CHANNELS))
    return ((noise[:-2] + noise[1:-1] + noise[2:]) / 3**0.5).astype(np.float32)


def fires(latents: np.ndarray, *, count: int = 3, similarity: float = 0.7, block: int = 4) -> int | None:
    """Frames after which the gate fires, or None."""
    gate = RepetitionGate(FRAME_RATE, count=count, similarity=similarity)
    for end in range(block, len(latents) + 1, block):
        if gate.push(latents[end - block : end]):
            return end
    return None


@pytest.mark.parametrize("period", [3, 5, 8, 13, 25, 37])
@pytest.mark.parametrize("block", [1, 4, 16])
def test_a_stretch_heard_three_times_fires_soon_after_and_not_before(period, block):
    start, loop = speech(40), speech(period, seed=1)
    latents = np.concatenate([start, np.tile(loop, (12, 1))])
    latents = latents + 0.2 * np.random.default_rng(2).standard_normal(latents.shape).astype(np.float32)
    end = fires(latents, block=block)
    # Short stretches are compared over 0.8 s at least, 10 frames.
    needed = 40 + period + max(2 * period, 10)
    assert end is not None and needed - 0.5 * period - 3 <= end <= needed + block


@pytest.mark.parametrize("block", [1, 4])
def test_twice_is_not_three_times(block):
    latents = np.concatenate([speech(40), np.tile(speech(20, seed=1), (2, 1)), speech(40, seed=2)])
    assert fires(latents, block=block) is None
    assert fires(latents, count=2, block=block) is not None


def test_speech_that_goes_on_does_not_fire():
    assert all(fires(speech(400, seed=seed)) is None for seed in range(20))


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1])
def test_silence_and_held_sounds_are_no_repetition(noise):
    held = np.tile(3 * speech(1), (200, 1)) + noise * np.random.default_rng(1).standard_normal((200, CHANNELS))
    assert fires(np.concatenate([speech(20), held.astype(np.float32)])) is None


def test_the_measure_is_the_cosine_of_centred_stretches():
    latents, lag, window = 2 + speech(60), 7, 10
    span = max(window, 2 * lag)
    new, old = latents[-span:], latents[-span - lag : -lag]
    new, old = new - new.mean(0), old - old.mean(0)
    cosine = float((new * old).sum() / np.linalg.norm(new) / np.linalg.norm(old))
    for shift, expected in ((-1e-3, True), (1e-3, False)):
        found = repeats(latents, count=3, lags=range(lag, lag + 1), window=window, similarity=cosine + shift)
        assert found is expected


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("", 1),
        ("one two three", 1),
        ("No, no, no!", 3),
        ("never ever never ever never", 2),
        ("say it again say it again say it again", 3),
        ("that that is is that that is not is not", 2),
    ],
)
def test_what_a_text_repeats_is_counted_in_phrases(text, times):
    assert spoken_repeats(text) == times
