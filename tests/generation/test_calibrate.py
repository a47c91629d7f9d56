"""The stop threshold is chosen by the lengths that it would have given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from calm.config import load_config
from calm.errors import CheckpointError, InputError
from calm.generation import AudioCALM
from calm.generation.calibrate import (
    StopCurve,
    calibrate_stop,
    generated_curves,
    store_stop_threshold,
    taught_curves,
)
from calm.generation.config import SamplerConfig
from calm.generation.plan import Call, make_plan
from calm.model.checkpoint import load_config_of, save_pretrained
from calm.types import Task
from tests.factory import tiny_batch, tiny_generator

MODELS = ["ar_flow", "head_flow"]


def curve(probabilities: list[float], num_frames: int) -> StopCurve:
    return StopCurve(probabilities=np.array(probabilities), num_frames=num_frames)


def test_a_length_is_counted_to_the_first_frame_above_the_threshold():
    one = curve([0.1, 0.4, 0.3, 0.9], 4)
    assert [one.length(threshold) for threshold in (0.05, 0.35, 0.5, 0.95)] == [1, 2, 4, 5]
    assert one.error(0.35) == -0.5 and one.error(0.95) == 0.25


def test_the_threshold_that_gives_the_right_lengths_is_found():
    """Every clip has a false alarm of 0.6 early on, and 0.8 where it ends."""
    generator = np.random.default_rng(0)
    curves = []
    for num_frames in generator.integers(10, 40, size=30):
        probabilities = generator.uniform(0, 0.3, size=num_frames + 4)
        probabilities[num_frames // 3], probabilities[num_frames - 1 :] = 0.6, 0.8
        curves.append(StopCurve(probabilities=probabilities, num_frames=int(num_frames)))
    found = calibrate_stop(curves)
    assert 0.6 <= found.threshold < 0.8 and found.num_clips == 30
    assert found.median_error == found.median_bias == 0
    assert calibrate_stop(curves, thresholds=[0.5]).median_error > 0.5


def test_equals_are_decided_by_the_mean_and_then_by_nearness_to_one_half():
    curves = [curve([0.0] * 9 + [0.99], 10)] * 2
    assert calibrate_stop(curves).threshold == 0.5
    assert calibrate_stop([*curves, curve([0.7, *[0.0] * 8, 0.99], 10)]).threshold == 0.7


def test_without_speech_there_is_nothing_to_calibrate():
    with pytest.raises(InputError, match="no speech to calibrate"):
        calibrate_stop(taught_curves(tiny_generator(), [tiny_batch([1, 2])]))


@pytest.mark.parametrize("model", MODELS)
def test_a_generated_curve_tells_the_length_of_a_clip_at_every_threshold(model):
    root, sampler = tiny_generator(model), SamplerConfig(num_steps=2, self_check=(), min_seconds_per_character=0)
    plan = make_plan(root, sampler, Call(text="hello there", task=Task.SPEECH))
    batch = dataclasses.replace(
        tiny_batch([0, 1]),
        text=plan.prompt.text.expand(2, -1),
        num_text=plan.prompt.num_text.expand(2),
        num_samples=torch.tensor([40 * 32, 32]),
    )
    (found,) = generated_curves(root, [batch], sampler=sampler)
    assert len(found.probabilities) == 80 and found.num_frames == 40
    for threshold in np.quantile(found.probabilities, [0.2, 0.7, 0.95]):
        calm = AudioCALM(root, sampler=dataclasses.replace(sampler, stop_threshold=float(threshold) + 1e-5))
        clip = calm.generate("hello there", task="speech")[0]
        assert clip.finish_reason == "stop"
        assert len(clip.latents) == found.length(float(threshold) + 1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_taught_curve_is_what_the_stop_head_says_to_the_recording_block_by_block(model):
    root, batch = tiny_generator(model), tiny_batch([0, 1, 0], frames=16, reference_frames=3)
    batch = dataclasses.replace(batch, complete=torch.tensor([False, True, True]))
    (found,) = taught_curves(root, [batch])
    (last,) = [slice(2, 3)]
    prompt = root.prompt_of(
        dataclasses.replace(
            batch,
            **{
                key: getattr(batch, key)[last]
                for key in ("audio", "num_samples", "task", "text", "num_text", "reference", "num_reference")
            },
        )
    )
    branch = root.open(prompt, block_size=4)
    latents = root.vae.to_latents(batch.audio[last])
    with torch.no_grad():
        logits = [branch.append(block) for block in latents.split(4, dim=1)]
    expected = torch.sigmoid(torch.cat(logits, dim=1))[0, : len(found.probabilities)]
    torch.testing.assert_close(torch.tensor(found.probabilities), expected, rtol=0, atol=1e-4)
    assert found.num_frames == -(-int(batch.num_samples[2]) // 32)


def test_a_threshold_is_stored_in_the_export_and_nothing_else_changes(tmp_path):
    config = load_config(["experiment=tiny", "name=tiny"])
    folder = save_pretrained(tmp_path / "export", model=tiny_generator(), config=config)
    before = load_config_of(folder)
    store_stop_threshold(folder, 0.23)
    after = load_config_of(folder)
    assert after.sampler.stop_threshold == 0.23
    assert after == dataclasses.replace(before, sampler=dataclasses.replace(before.sampler, stop_threshold=0.23))
    with pytest.raises(CheckpointError, match=r"No config.yaml"):
        store_stop_threshold(tmp_path, 0.5)
