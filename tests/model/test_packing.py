"""Clips packed into shared sequences: the same losses and gradients, and fewer rows."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calm.errors import ConfigError
from calm.model.ar_flow import ARFlow
from calm.sequence import pack, prefix_rows, training_rows
from calm.sequence.packing import share_out
from tests.factory import tiny_batch, tiny_generator

TASKS = [0, 1, 2, 0, 1, 0]


def in_double(batch):
    return dataclasses.replace(batch, audio=batch.audio.double(), reference=batch.reference.double())


def losses_of(root, *, pack_rows: int):
    """All losses, all gradients, and how many rows the backbone was given."""
    root.config = dataclasses.replace(root.config, pack_rows=pack_rows)
    seen = []
    handle = root.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[:2].numel()))
    batch = in_double(tiny_batch(TASKS, frames=24, reference_frames=8))
    root.zero_grad()
    losses = root.losses(batch, generator=torch.Generator().manual_seed(1))
    losses["loss"].backward()
    handle.remove()
    gradients = {name: p.grad for name, p in root.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients, sum(seen)


@pytest.mark.parametrize("pack_rows", [1, 100, 200])
@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_packed_clips_have_the_losses_and_gradients_of_clips_apart(model, pack_rows):
    root = tiny_generator(model, num_noisy_copies=2).double().train()
    apart, packed = losses_of(root, pack_rows=0), losses_of(root, pack_rows=pack_rows)
    torch.testing.assert_close(packed[0], apart[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(packed[1], apart[1], rtol=0, atol=1e-11)
    assert packed[2] < 0.9 * apart[2] or (pack_rows < 200 and packed[2] == apart[2])


def batch_rows():
    prefix = prefix_rows(
        num_reference=torch.tensor([2, 0, 1]), num_text=torch.tensor([3, 4, 1]), reference_length=2, text_length=4
    )
    start, valid = torch.tensor([5, 4, 2]), torch.tensor([6, 3, 3])
    return training_rows(prefix, start=start, num_blocks=2, block_size=3, num_valid=valid, num_copies=1)


def test_every_valid_row_is_packed_once_with_its_own_record_and_comes_back():
    rows = batch_rows()
    packing = pack(rows, length=30)
    assert packing.rows.valid.sum() == rows.valid.sum() and packing.rows.kind.shape[0] == 2
    torch.testing.assert_close(packing.leave(packing.enter(rows.position[..., None])), (rows.position * rows.valid)[..., None])
    assert packing.rows.document.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(packing.rows.document > 0, packing.rows.valid)
    task = packing.of_clips(torch.tensor([5, 6, 7]))
    assert torch.equal(task[packing.rows.valid], 4 + packing.rows.document[packing.rows.valid])


def test_a_batch_without_padding_to_speak_of_is_left_as_it_is():
    rows = batch_rows()
    assert pack(rows.select(slice(0, 1))[rows.valid[0]], length=30) is None


def test_no_row_of_one_clip_bears_on_another():
    root = tiny_generator(pack_rows=200).double()
    batch = in_double(tiny_batch(TASKS, frames=24))
    hidden = []
    for scale in (1.0, 3.0):
        audio = batch.audio.clone()
        audio[0] *= scale
        root.backbone.register_forward_hook(lambda module, args, out: hidden.append(out))
        root.losses(dataclasses.replace(batch, audio=audio), generator=torch.Generator().manual_seed(1))
    changed = (hidden[0] - hidden[-1]).abs().amax(dim=-1) > 0
    assert changed.any() and 0 < changed.float().mean() < 0.5


SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=30)


@given(SIZES, st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_clips_of_a_sequence_lie_behind_each_other_and_sequences_end_nearly_together(sizes, count):
    plan = share_out(sizes, count)
    places = sorted((n, start, start + size) for n, start, size in zip(plan.chosen, plan.starts, sizes, strict=True))
    for (first, _, end), (second, start, _) in itertools.pairwise(places):
        assert start == (end if first == second else 0)
    assert max(plan.chosen) < plan.num_sequences == count
    assert max(end for _, _, end in places) == plan.length <= sum(sizes) / count + max(sizes)


@given(SIZES, st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_packed_sequences_have_fewer_rows(sizes, length):
    rows = prefix_rows(
        num_reference=torch.zeros(len(sizes), dtype=torch.int64),
        num_text=torch.tensor(sizes),
        reference_length=0,
        text_length=max(sizes),
    )
    if (packing := pack(rows, length=length)) is not None:
        (count, packed), (batch, padded) = packing.rows.valid.shape, rows.valid.shape
        assert count * packed <= 0.9 * batch * padded


def test_a_negative_length_is_refused():
    with pytest.raises(ConfigError, match="pack_rows is -1"):
        ARFlow.Config(pack_rows=-1)
