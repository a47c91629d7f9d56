"""The next block is made while this one is decoded."""

from __future__ import annotations

import threading

import pytest
import torch

from calm.generation import AudioCALM, growth
from calm.generation.clips import Clips
from calm.generation.config import SamplerConfig
from calm.generation.ends import Ends
from calm.generation.growth import core_is_free, grow
from calm.generation.joint import Turn
from tests.factory import tiny_generator

#: silence is all but the loudest: clips end by what is heard, while the next block is already made
SILENT = {"silence_db": 0.0, "silence_seconds": 0.06, "tail_seconds": 0.01, "repetition_count": 0}


def clips_of(*, gather: int = 1) -> Clips:
    sampler = SamplerConfig(num_steps=1, max_seconds=0.6, stop_threshold=2.0, **SILENT)
    calm = AudioCALM(tiny_generator(), sampler=sampler)
    plan = calm.plan(["The bell rings twice.", "Rain."], task="speech", seed=4)
    return Clips(calm.model, plan, gather=gather)


@pytest.mark.parametrize("gather", [1, 3])
def test_two_threads_make_the_same_samples_to_the_bit_and_end_alike(gather):
    found = []
    for pipelined in (False, True):
        clips = clips_of(gather=gather)
        pieces = list(grow(tiny_generator(), clips, pipelined=pipelined))
        audio = [torch.cat(parts, dim=-1) for parts in zip(*pieces, strict=True)]
        found.append((audio, [clips.reason(i) for i in range(2)], [clips.latents(i) for i in range(2)]))
    (alone, reasons, latents), (together, same_reasons, same_latents) = found
    assert reasons == same_reasons and "silence" in reasons
    assert all(map(torch.equal, alone, together)) and all(map(torch.equal, latents, same_latents))


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_block_of_clips_with_a_length_is_heard_before_its_clean_pass_and_the_last_one_needs_none(pipelined, monkeypatch):
    calm, passes = AudioCALM(tiny_generator()), []
    whole = calm.generate("Rain.", task="sound", duration=0.6, seed=4)[0].audio
    keep = Turn.keep
    monkeypatch.setattr(Turn, "keep", lambda turn: passes.append(1) or keep(turn))
    with monkeypatch.context() as late:
        late.setattr(Ends, "need_stops", True)
        assert torch.equal(calm.generate("Rain.", task="sound", duration=0.6, seed=4)[0].audio, whole)
    num_blocks = len(passes)
    passes.clear()
    plan = calm.plan("Rain.", task="sound", duration=0.6, seed=4)
    pieces = grow(calm.model, Clips(calm.model, plan, gather=1), pipelined=pipelined)
    heard = [next(pieces)[0]]
    assert pipelined or not passes
    heard += [piece for (piece,) in pieces]
    torch.testing.assert_close(torch.cat(heard, dim=-1), whole, rtol=0, atol=1e-5)
    assert len(passes) == num_blocks - 1 > 1


def test_a_clip_without_a_length_waits_for_its_clean_pass_which_says_where_it_ends():
    calm = AudioCALM(tiny_generator())
    lengths = {"duration": 0.6}, {}
    plans = [calm.plan("Rain.", task="sound", seed=4, **length) for length in lengths]
    assert [Clips(calm.model, plan, gather=1).ends.need_stops for plan in plans] == [False, True]


def test_a_fault_in_the_other_thread_reaches_the_caller_and_no_thread_is_left(monkeypatch):
    model, before = tiny_generator(), threading.active_count()
    monkeypatch.setattr(model.head, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(grow(model, clips_of(), pipelined=True))
    assert threading.active_count() == before


def test_a_caller_that_leaves_early_leaves_no_thread():
    before, pieces = threading.active_count(), grow(tiny_generator(), clips_of(), pipelined=True)
    next(pieces)
    assert threading.active_count() == before + 1
    pieces.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("cores", "threads", "free"), [(1, 1, False), (2, 1, True), (2, 2, False), (4, 2, True)])
def test_there_is_a_second_thread_only_where_cores_are_left(cores, threads, free, monkeypatch):
    monkeypatch.setattr(growth.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(growth.torch, "get_num_threads", lambda: threads)
    assert core_is_free(tiny_generator()) is free
    for other in (torch.autocast("cpu", dtype=torch.bfloat16), torch.profiler.profile()):
        with other:
            assert not core_is_free(tiny_generator())
