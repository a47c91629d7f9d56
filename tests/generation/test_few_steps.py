"""A model that knows averages of its guided flow is asked for them, and for nothing else."""

from __future__ import annotations

import pytest
import torch

from calm.errors import InputError
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.generation.solver import solve, trajectory
from tests.factory import tiny_few_steps, tiny_generator

UNGUIDED = {f"cfg_scale_{task}": 1.0 for task in ("speech", "sound", "music")}


@pytest.fixture(scope="module", params=["conditional", "both"])
def few(request):
    return AudioCALM(tiny_few_steps(request.param), sampler=SamplerConfig(solver="average", num_steps=2, **UNGUIDED))


def test_one_step_of_averages_is_the_noise_and_the_average_over_all_time():
    noise, asked = torch.randn(1, 2, 3), []

    def velocities(points):
        asked.extend((point.t, point.span) for point in points)
        return [2 * point.x for point in points]

    def end(num_steps):
        return solve(velocities, [trajectory(noise, num_steps=num_steps, solver="average", grid="uniform")])[0]

    assert torch.equal(end(1), noise + 2 * noise)
    end(2)
    assert asked == [(0.0, 1.0), (0.0, 0.5), (0.5, 0.5)]


def test_a_block_costs_one_pass_of_the_head_for_each_step_whichever_branches_it_reads(few):
    passes = []
    hook = few.model.head.out.register_forward_hook(lambda module, given, output: passes.append(len(output)))
    few.generate("Rain.", task="sound", duration=0.008, steps=4)
    hook.remove()
    assert passes == [1] * 4


def test_the_span_of_a_step_is_heard(few):
    one, two = (few.generate("Rain.", task="sound", duration=0.1, steps=steps)[0].latents for steps in (1, 2))
    assert not torch.allclose(one, two)


def test_guidance_that_is_in_the_weights_cannot_be_asked_for_again(few):
    with pytest.raises(InputError, match=r"part of this model's weights(.|\n)*cfg_scale(.|\n)*1"):
        few.generate("Rain.", task="sound", duration=0.1, cfg_scale=2.0)
    assert few.generate("Rain.", task="sound", duration=0.1, cfg_scale=1.0)[0].audio.isfinite().all()


def test_averages_are_asked_only_of_a_model_that_knows_them(few):
    with pytest.raises(InputError, match=r"solver is 'euler', and the model knows averages(.|\n)*average"):
        few.generate("Rain.", task="sound", duration=0.1, solver="euler")
    with pytest.raises(InputError, match=r"solver is 'average', and the model knows no averages(.|\n)*euler, midpoint"):
        AudioCALM(tiny_generator("head_flow")).generate("Rain.", task="sound", duration=0.1, solver="average")


def test_streaming_equals_the_whole_clip(few):
    whole = few.generate("Rain.", task="sound", duration=0.1)[0].audio
    pieces = [piece.audio for piece in few.generate_streaming("Rain.", task="sound", duration=0.1)]
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=0, atol=1e-5)
