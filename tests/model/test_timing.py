"""What rows are told of their moment: the beat, how near the start and the end are; the same in training and generation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from safetensors.torch import save

from calm.audio import write_bytes
from calm.errors import CheckpointError
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.model.checkpoint import load_into
from calm.model.timing import PERIODS, Timing
from calm.sequence import Rows, block_rows, prefix_rows
from tests.factory import tiny_batch, tiny_generator, tiny_prompt
from tests.model.test_identities import TOLERANCE, assert_cached_equals_parallel, parallel, targets_of

MODELS = ["ar_flow", "head_flow"]


def told(root, tasks: list[int], *, timing: list[tuple[float, float, float]]):
    prompt = tiny_prompt(root, tasks, num_text=[7, 3][: len(tasks)], num_reference=[5, 0][: len(tasks)])
    return dataclasses.replace(prompt, timing=torch.tensor(timing, dtype=torch.float64))


def with_timing(model: str):
    return tiny_generator(model, timing=True).double()


@pytest.mark.parametrize("model", MODELS)
def test_generation_is_told_what_training_was_told(model):
    root = with_timing(model)
    prompt = told(root, [0, 1], timing=[(90.0, 0.02, 0.0), (0.0, 0.05, 0.0)])
    targets = targets_of(root, [0, 1], block_size=3, num_blocks=4)
    assert_cached_equals_parallel(root, prompt, targets)


@pytest.mark.parametrize("model", MODELS)
def test_velocities_depend_on_tempo_length_and_the_time_that_has_passed(model):
    root = with_timing(model)
    targets = targets_of(root, [1], block_size=2, num_blocks=3)
    rows = [(0.0, 0.0, 0.0), (120.0, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.3)]
    found = [parallel(root, told(root, [1], timing=[row]), targets)[0] for row in rows]
    for other in found[1:]:
        assert (other - found[0]).abs().max() > 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_before_it_has_learned_it_changes_nothing(model):
    root = with_timing(model)
    torch.nn.init.zeros_(root.timing.out.weight)
    prompt, targets = told(root, [1], timing=[(90.0, 3.0, 0.0)]), targets_of(root, [1], block_size=2, num_blocks=3)
    with_it, _ = parallel(root, prompt, targets)
    root.timing = None
    without, _ = parallel(root, prompt, targets)
    torch.testing.assert_close(with_it, without, **TOLERANCE)


@pytest.mark.parametrize("model", MODELS)
def test_a_sliding_history_leaves_the_moments_as_they_are(model):
    root = with_timing(model)
    root.config = dataclasses.replace(root.config, num_history_blocks=2)
    prompt, targets = told(root, [1], timing=[(90.0, 0.05, 0.0)]), targets_of(root, [1], block_size=2, num_blocks=5)
    assert_cached_equals_parallel(root, prompt, targets)


def test_weights_without_timing_go_on_in_a_model_with_it(tmp_path):
    plain, later = tiny_generator("head_flow"), tiny_generator("head_flow", seed=1, timing=True)
    write_bytes(tmp_path / "model.safetensors", save({k: v.contiguous() for k, v in plain.state_dict().items()}))
    load_into(later, tmp_path, may_lack=("timing.",))
    with pytest.raises(CheckpointError, match="timing"):
        load_into(tiny_generator("head_flow", timing=True), tmp_path)
    assert torch.equal(later.null_text, plain.null_text)


def test_joined_branches_have_each_their_own_moment():
    root = with_timing("ar_flow")
    prompts = [told(root, [task], timing=[(tempo, 0.4, 0.0)]) for task, tempo in ((1, 80.0), (2, 131.0))]
    block, noise = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        branches, alone = ([root.open(prompt, block_size=3) for prompt in prompts] for _ in range(2))
        branches[1].append(block[1:]), alone[1].append(block[1:])
        _, found = root.join(branches).append_and_begin(block, noise)
        for index, branch in enumerate(alone):
            branch.append(block[index : index + 1])
            expected = branch.velocity(noise[index : index + 1], zero[:1])
            torch.testing.assert_close(found[index : index + 1], expected, rtol=0, atol=1e-9)


def test_rows_of_the_prefix_are_told_nothing_and_copies_of_a_frame_the_same():
    timing = Timing(6, frame_seconds=0.08)
    torch.nn.init.normal_(timing.out.weight)
    one = torch.tensor([1])
    prefix = prefix_rows(num_reference=one, num_text=one, reference_length=1, text_length=2)
    clean, noisy = (block_rows(start=one, first_block=1, num_blocks=1, block_size=2, copy=copy) for copy in (0, 1))
    said = timing(Rows.concatenate([prefix, clean, noisy]), torch.tensor([[100.0, 4.0, 0.0]]))[0]
    assert not said[:3].any() and said[3:].any()
    assert torch.equal(said[3:5], said[5:7])


def test_an_excerpt_is_told_what_the_whole_clip_is_told_there():
    timing, frames = Timing(2, frame_seconds=0.08), torch.arange(40)[None]
    whole = timing.features(frames, torch.tensor([[117.0, 3.2, 0.0]]))
    excerpt = timing.features(frames[:, :15], torch.tensor([[117.0, 3.2, 25 * 0.08]]))
    torch.testing.assert_close(excerpt, whole[:, 25:], rtol=0, atol=1e-4)


def test_sinusoids_turn_once_in_their_number_of_beats():
    timing = Timing(2, frame_seconds=0.05)
    features = timing.features(torch.arange(100)[None], torch.tensor([[120.0, 0.0, 0.0]]))[0]
    for index, beats in enumerate(PERIODS):
        period = beats * 60 / 120 / 0.05
        expected = torch.cos(2 * math.pi * torch.arange(100) / period)
        torch.testing.assert_close(features[:, index], expected, rtol=0, atol=1e-3)


def test_a_row_in_the_middle_of_hours_is_told_what_a_row_of_the_training_was_told():
    timing = Timing(2, frame_seconds=0.08)
    middle = timing.features(torch.tensor([[200_000]]), torch.tensor([[0.0, 36_000.0, 0.0]]))
    trained = timing.features(torch.tensor([[100]]), torch.tensor([[0.0, 16.0, 0.0]]))
    torch.testing.assert_close(middle, trained, rtol=0, atol=1e-6)


def test_far_from_start_and_end_every_moment_is_the_same_for_hours():
    timing = Timing(2, frame_seconds=0.08)
    features = timing.features(torch.tensor([[1_000, 100_000]]), torch.tensor([[0.0, 36_000.0, 0.0]]))[0]
    torch.testing.assert_close(features[0], features[1], rtol=0, atol=1e-6)


def test_a_dropped_text_takes_tempo_and_length_with_it_but_not_where_an_excerpt_lies():
    root = with_timing("head_flow")
    prompt = told(root, [1, 2], timing=[(90.0, 3.0, 0.5), (80.0, 2.0, 0.0)])
    dropped = prompt.drop(text=torch.tensor([True, False]), reference=torch.tensor([False, True]))
    assert dropped.timing.tolist() == [[0.0, 0.0, 0.5], [80.0, 2.0, 0.0]]
    assert prompt.drop_seconds(torch.tensor([False, True])).timing.tolist() == [[90.0, 3.0, 0.5], [80.0, 0.0, 0.0]]


@pytest.mark.parametrize("model", MODELS)
def test_training_draws_everything_from_its_generator(model):
    root, batch = tiny_generator(model, timing=True).train(), tiny_batch([0, 1, 2, 2])
    batch = dataclasses.replace(batch, timing=torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0], [90.0, 0.5, 0.1], [0.0, 0.5, 0.0]]))
    losses = [root.losses(batch, generator=torch.Generator().manual_seed(seed))["loss"] for seed in (7, 7, 8)]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize(("task", "says"), [("music", False), ("sound", True)])
def test_a_prompt_of_long_music_says_no_duration_where_the_rows_are_told_it(task, says):
    calm = AudioCALM(with_timing("head_flow"), sampler=SamplerConfig(num_steps=1), trained_seconds=1.0)
    (request,) = calm.plan("bells", task=task, duration=3.0).requests
    assert ("Duration: 1 second." in request.description) == says == ("Duration" in request.description)
    assert request.duration_seconds == 3.0
