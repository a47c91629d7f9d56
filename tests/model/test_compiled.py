"""Compiled passes: what they compute, and that nothing is compiled while a request runs."""

from __future__ import annotations

import pytest
import torch

from calm.backbone.fixed_cache import NUM_LEFT, FixedCache
from calm.errors import ConfigError
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.generation.sampler import sample_blocks
from calm.model import compiled
from calm.model.compiled import compile_passes
from calm.model.precision import choose_precision
from tests.factory import tiny_generator


def num_graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def one_layer(model: str):
    root = tiny_generator(model)
    root.backbone.layers = root.backbone.layers[:1]
    return root


def latents_of(root, *, seed: int, num_blocks: int):
    """The latents of block after block, from a guided request of at most so many."""
    calm = AudioCALM(root, sampler=SamplerConfig(num_steps=2))
    duration = num_blocks * 4 * 32 / 16000
    plan = calm.plan("A bell rings.", task="speech", duration=duration, seed=seed)
    for _, block in zip(range(num_blocks), sample_blocks(root, **plan.sampling), strict=False):
        yield block.latents


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_compiled_passes_equal_the_eager_ones_and_are_compiled_in_the_first_block_alone(model):
    torch._dynamo.reset()
    # Traced as for the compiler, whose own minute is left out.
    root = compile_passes(one_layer(model), backend="eager")
    counts = [num_graphs()]
    for seed, num_blocks in ((1, 4), (2, 3)):
        for ours, theirs in zip(
            latents_of(root, seed=seed, num_blocks=num_blocks),
            latents_of(one_layer(model), seed=seed, num_blocks=num_blocks),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
            counts.append(num_graphs())
    assert counts[1] > counts[0] and counts[1:] == [counts[1]] * 7


def test_a_cpu_without_a_compiler_is_told_so(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        compile_passes(tiny_generator())


def test_what_cannot_be_compiled_is_refused_and_auto_chooses_what_can_be():
    where = torch.device("cpu")
    assert choose_precision("auto", device=where, compiled=True) == "fp32"
    with pytest.raises(ConfigError, match="'fp16' cannot be compiled"):
        choose_precision("fp16", device=where, compiled=True)


def test_the_next_request_has_the_tensors_of_an_earlier_one_of_its_shape_and_nothing_of_what_was_in_them():
    left = {}

    def cache(capacity: int) -> FixedCache:
        return FixedCache((1, 1, 1, 4), capacity=capacity, rotate=lambda keys, positions: keys, left=left)

    def places(one: FixedCache) -> list[int]:
        return [one.keys[0].data_ptr(), one.values[0].data_ptr(), one._place.data_ptr()]

    first = cache(100)
    first.values[0].fill_(torch.nan)
    known = places(first)
    del first
    other = cache(200)
    second = cache(90)
    assert places(second) == known and not second.values[0].any()
    # While it is in use nobody else gets them.
    assert places(cache(90))[0] != known[0]
    del second, other
    for capacity in (300, 500, 700):
        cache(capacity)
    assert len(left) <= NUM_LEFT


def test_a_cache_that_has_grown_is_not_taken_for_one_of_its_first_shape():
    left = {}
    one = FixedCache((1, 1, 1, 4), capacity=100, rotate=lambda keys, positions: keys, left=left)
    one.reserve(200)
    del one
    assert not left
