"""What is made of times is made once, and is what it was."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.head.base import TimeEmbedding
from calm.model import times
from calm.model.times import RememberedTimes, remember_times
from tests.factory import tiny_few_steps, tiny_generator


def counted(module: torch.nn.Module) -> list[float]:
    asked: list[float] = []
    module.register_forward_pre_hook(lambda _, args: asked.extend(args[0].flatten().tolist()))
    return asked


def test_every_value_is_asked_for_once_and_gives_what_it_gives_alone():
    plain = TimeEmbedding(8)
    asked, module = counted(plain), RememberedTimes(plain)
    for time in (torch.tensor([[0.5]]), torch.tensor([[0.5], [0.25]]), torch.tensor([[[0.25, 0.5]]]), torch.full((3, 1), 0.5)):
        torch.testing.assert_close(module(time), plain(time), rtol=0, atol=1e-6)
        assert module(time).shape == (*time.shape, 8)
    del asked[:]
    assert torch.equal(module(torch.tensor([[0.5], [0.25]]))[0], module(torch.tensor([[0.5]]))[0])
    assert asked == []


def test_a_batch_of_equal_times_is_one_value(monkeypatch):
    monkeypatch.setattr(times, "CAPACITY", 4)
    plain = TimeEmbedding(8)
    asked, module = counted(plain), RememberedTimes(plain)
    for _ in range(3):
        assert module(torch.full((50, 1), 0.5)).shape == (50, 1, 8)
    assert asked == [0.5]


def test_threads_do_not_lose_each_others_times(monkeypatch):
    monkeypatch.setattr(times, "CAPACITY", 4)
    module, interval = RememberedTimes(TimeEmbedding(8)), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def ask(seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        for _ in range(200):
            module(torch.randint(8, (3, 1), generator=draw) / 8)

    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(4))) == [None] * 4
    finally:
        sys.setswitchinterval(interval)


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(times, "CAPACITY", 4)
    module = RememberedTimes(TimeEmbedding(8))
    for value in range(20):
        module(torch.tensor([[value / 20]]))
    assert len(module._known) <= 4


@pytest.mark.parametrize(
    ("make", "solver"),
    [(lambda: tiny_generator("ar_flow"), "euler"), (lambda: tiny_generator("head_flow"), "euler"), (tiny_few_steps, "average")],
)
def test_a_clip_is_the_same_and_times_are_embedded_in_the_first_block_alone(make, solver):
    sampler = SamplerConfig(num_steps=4, solver=solver, cfg_scale_sound=1.0)
    asked = {"task": "sound", "duration": 0.1, "seed": 3}
    (plain,) = AudioCALM(make(), sampler=sampler).generate("A bell rings.", **asked)
    root = make()
    embedded = counted(root.head.time)
    remember_times(root)
    (ours,) = AudioCALM(root, sampler=sampler).generate("A bell rings.", **asked)
    torch.testing.assert_close(ours.latents, plain.latents, rtol=0, atol=1e-4)
    assert len(embedded) == len(set(embedded)) <= 5
