"""Training and generation are the same computation: float64, every block size, both models."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.model.flow import Targets
from calm.model.generator import Generator
from calm.model.prompt import Prompt
from tests.factory import tiny_generator, tiny_prompt

MODELS = ["ar_flow", "head_flow"]
TOLERANCE = {"rtol": 0, "atol": 1e-10}


def targets_of(root: Generator, tasks: list[int], *, block_size: int, num_blocks: int, copies: int = 2) -> Targets:
    frames = block_size * num_blocks
    latents = torch.randn(len(tasks), frames, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Targets.prepare(
        latents,
        num_frames=torch.full((len(tasks),), frames),
        complete=torch.ones(len(tasks), dtype=torch.bool),
        task=torch.tensor(tasks),
        block_size=block_size,
        num_copies=copies,
        generator=torch.Generator().manual_seed(2),
    )


def parallel(root: Generator, prompt: Prompt, targets: Targets, *, history_time: float = 1.0):
    history, time = targets.history(probability=0.0, level=0.0, generator=None)
    time = history_time * time
    with torch.no_grad():
        velocity, stop, _ = root.predict(prompt, targets, history=history, history_time=time)
    return velocity, stop


def cached(
    root: Generator,
    prompt: Prompt,
    targets: Targets,
    *,
    window_blocks: int | None = None,
    history_time: float = 1.0,
):
    """The same velocities and stop logits, block by block against the cache."""
    k, velocities, stops = targets.block_size, [], []
    with torch.no_grad():
        branch = root.open(prompt, block_size=k, window_blocks=window_blocks)
        for block in range(targets.num_blocks):
            frames = slice(block * k, (block + 1) * k)
            copies = [
                branch.velocity(targets.noisy[:, copy, frames], targets.time[:, copy, frames.start])
                for copy in range(targets.noisy.shape[1])
            ]
            velocities.append(torch.stack(copies, dim=1))
            stops.append(branch.append(targets.latents[:, frames], time=history_time))
    return torch.cat(velocities, dim=2), torch.cat(stops, dim=1)


def assert_cached_equals_parallel(
    root: Generator, prompt: Prompt, targets: Targets, *, history_time: float = 1.0
) -> None:
    """Velocities and stop logits, block by block and all at once."""
    found = cached(root, prompt, targets, history_time=history_time)
    for actual, expected in zip(found, parallel(root, prompt, targets, history_time=history_time), strict=True):
        torch.testing.assert_close(actual, expected, **TOLERANCE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("block_size", range(1, 17))
@pytest.mark.parametrize("num_reference", [0, 5], ids=["no-reference", "partial-reference-block"])
def test_cached_generation_equals_the_parallel_forward(model, block_size, num_reference):
    root = tiny_generator(model).double()
    prompt = tiny_prompt(root, [0], num_text=[7], num_reference=[num_reference])
    targets = targets_of(root, [0], block_size=block_size, num_blocks=3)
    assert_cached_equals_parallel(root, prompt, targets)


@pytest.mark.parametrize("model", MODELS)
def test_a_history_that_is_said_to_be_noised_is_the_same_in_the_cache(model):
    root = tiny_generator(model).double()
    prompt = tiny_prompt(root, [0], num_text=[7], num_reference=[5])
    targets = targets_of(root, [0], block_size=2, num_blocks=4)
    assert_cached_equals_parallel(root, prompt, targets, history_time=0.6)
    found = cached(root, prompt, targets, history_time=0.6)
    assert not torch.allclose(found[0][:, :, 2:], cached(root, prompt, targets)[0][:, :, 2:])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("history", [1, 2])
def test_a_trained_sliding_history_is_the_same_in_the_ring_cache(model, history):
    root = tiny_generator(model, num_history_blocks=history).double()
    prompt = tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[2, 0])
    targets = targets_of(root, [0, 1], block_size=3, num_blocks=7)
    assert_cached_equals_parallel(root, prompt, targets)


@pytest.mark.parametrize("model", MODELS)
def test_float32_agrees_to_1e_5(model):
    root = tiny_generator(model)
    # Velocities of random weights are several times as large as trained ones, and so is their rounding.
    root.head.out.weight.data.mul_(0.2)
    prompt = tiny_prompt(root, [0], num_text=[7], num_reference=[5])
    targets = targets_of(root, [0], block_size=8, num_blocks=4)
    targets = dataclasses.replace(
        targets, **{n: getattr(targets, n).float() for n in ("latents", "noise", "noisy", "time")}
    )
    for actual, expected in zip(cached(root, prompt, targets), parallel(root, prompt, targets), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_requests_of_a_batch_do_not_change_each_other(model):
    root = tiny_generator(model).double()
    prompt = tiny_prompt(root, [0, 1, 2], num_text=[9, 4, 0], num_reference=[5, 0, 0])
    targets = targets_of(root, [0, 1, 2], block_size=4, num_blocks=3)
    together, _ = cached(root, prompt, targets)
    for index in range(3):
        one = {f.name: getattr(prompt, f.name)[index : index + 1] for f in dataclasses.fields(Prompt)}
        alone = Prompt(
            **{**one, "text": one["text"][:, : one["num_text"]], "reference": one["reference"][:, : one["num_reference"]]}
        )
        part = {n: getattr(targets, n)[index : index + 1] for n in ("latents", "noise", "noisy", "time", "task")}
        actual, _ = cached(root, alone, dataclasses.replace(targets, **part))
        torch.testing.assert_close(actual, together[index : index + 1], **TOLERANCE)


@pytest.mark.parametrize("model", MODELS)
def test_the_future_does_not_reach_earlier_blocks_and_copies_do_not_see_each_other(model):
    root = tiny_generator(model).double()
    prompt = tiny_prompt(root, [0], num_text=[7], num_reference=[5])
    targets = targets_of(root, [0], block_size=4, num_blocks=4)
    before, _ = parallel(root, prompt, targets)
    latents, noisy = targets.latents.clone(), targets.noisy.clone()
    latents[:, 8:] += 1.0
    noisy[:, 1] += 1.0
    after, _ = parallel(root, prompt, dataclasses.replace(targets, latents=latents, noisy=noisy))
    torch.testing.assert_close(after[:, 0, :12], before[:, 0, :12], **TOLERANCE)
    assert not torch.allclose(after[:, 0, 12:], before[:, 0, 12:])
    assert not torch.allclose(after[:, 1, :8], before[:, 1, :8])


@pytest.mark.parametrize("model", MODELS)
def test_a_window_changes_nothing_until_it_is_full_and_then_bounds_the_cache(model):
    root = tiny_generator(model).double()
    prompt = tiny_prompt(root, [0], num_text=[7], num_reference=[3])
    targets = targets_of(root, [0], block_size=2, num_blocks=9, copies=1)
    full, _ = cached(root, prompt, targets)
    windowed, _ = cached(root, prompt, targets, window_blocks=4)
    torch.testing.assert_close(windowed[:, :, :6], full[:, :, :6], **TOLERANCE)
    assert not torch.allclose(windowed[:, :, -2:], full[:, :, -2:])


def test_a_full_window_sees_what_a_fresh_rollout_of_the_window_alone_would_see():
    """Relative positions and keys of a sliding window equal those of a clip that starts at the window,

    in the first layer. With one layer that is the whole model.
    """
    root = tiny_generator("ar_flow").double()
    root.backbone.layers = root.backbone.layers[:1]
    root.expert_enabled = False
    prompt = tiny_prompt(root, [1], num_text=[7], num_reference=[0])
    targets = targets_of(root, [1], block_size=2, num_blocks=40, copies=1)
    windowed, _ = cached(root, prompt, targets, window_blocks=4)
    tail = {n: getattr(targets, n)[:, -10:] for n in ("latents",)}
    tail |= {n: getattr(targets, n)[:, :, -10:] for n in ("noise", "noisy", "time")}
    fresh, _ = cached(root, prompt, dataclasses.replace(targets, **tail))
    torch.testing.assert_close(windowed[:, :, -2:], fresh[:, :, -2:], **TOLERANCE)


@pytest.mark.parametrize("model", MODELS)
def test_positions_beside_the_words_are_the_same_in_the_cache(model):
    root = tiny_generator(model, target_positions="beside_words").double()
    prompt = tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[5, 0])
    root.tokenizer.first_spoken_id = int(prompt.text[0, 2])
    targets = targets_of(root, [0, 1], block_size=4, num_blocks=3)
    assert_cached_equals_parallel(root, prompt, targets)
