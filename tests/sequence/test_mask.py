"""The one mask: rules, and agreement between training and generation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calm.sequence import Rows, allow, block_mask, block_rows, mask_function, prefix_rows, training_rows
from calm.sequence.layout import CLEAN, REFERENCE, TARGET, TEXT

SIZES = st.fixed_dictionaries(
    {
        "reference": st.integers(0, 3),
        "text": st.integers(1, 4),
        "blocks": st.integers(1, 4),
        "size": st.integers(1, 5),
        "copies": st.integers(1, 3),
        "history": st.one_of(st.none(), st.integers(1, 3)),
    }
)


def rows_of(size: dict, *, num_blocks: int | None = None) -> tuple[Rows, Rows]:
    """Prefix rows and whole training rows of two samples, the second one padded."""
    num_reference = torch.tensor([size["reference"], max(0, size["reference"] - 1)])
    num_text = torch.tensor([size["text"], max(1, size["text"] - 1)])
    prefix = prefix_rows(
        num_reference=num_reference,
        num_text=num_text,
        reference_length=size["reference"],
        text_length=size["text"],
    )
    blocks = num_blocks or size["blocks"]
    rows = training_rows(
        prefix,
        start=num_reference + num_text,
        num_blocks=blocks,
        block_size=size["size"],
        num_valid=torch.full((2,), blocks * size["size"]),
        num_copies=size["copies"],
    )
    return prefix, rows


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_every_entry_follows_the_three_rules(size):
    _, rows = rows_of(size)
    mask, history = allow(rows, rows, history=size["history"]), size["history"]
    value = {name: getattr(rows, name)[0].tolist() for name in ("kind", "order", "copy", "block", "valid")}
    for q in range(len(rows)):
        for k in range(len(rows)):
            kinds = value["kind"][q], value["kind"][k]
            prefix = kinds in {(TARGET, REFERENCE), (TARGET, TEXT), (REFERENCE, REFERENCE), (TEXT, REFERENCE)}
            prefix |= kinds == (TEXT, TEXT) and value["order"][k] <= value["order"][q]
            distance = value["block"][q] - value["block"][k]
            both = kinds == (TARGET, TARGET)
            past = both and value["copy"][k] == CLEAN and distance > 0 and (history is None or distance <= history)
            own = both and value["copy"][k] == value["copy"][q] and distance == 0
            assert bool(mask[0, q, k]) == (((prefix or past or own) and value["valid"][k]) or q == k)


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_a_block_sees_the_same_rows_in_generation_as_in_training(size):
    prefix, rows = rows_of(size)
    trained = allow(rows, rows, history=size["history"])
    start = rows.position[:, len(prefix)]
    length = size["blocks"] * size["size"]
    clean = slice(len(prefix), len(prefix) + length)
    for block in range(size["blocks"]):
        new = block_rows(start=start, first_block=block, num_blocks=1, block_size=size["size"])
        cached = Rows.concatenate([prefix, rows[clean][: block * size["size"]]])
        generated = allow(new, Rows.concatenate([cached, new]), history=size["history"])
        own = slice(block * size["size"], (block + 1) * size["size"])
        assert torch.equal(generated[:, :, : len(cached)], trained[:, clean][:, own, : len(cached)])
        for copy in range(size["copies"] + 1):
            first = len(prefix) + copy * length + own.start
            noisy = slice(first, first + size["size"])
            visible = trained[:, noisy]
            assert torch.equal(visible[:, :, : len(cached)], generated[:, :, : len(cached)])
            assert visible.sum(-1).equal(generated.sum(-1))


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_the_elementwise_form_for_flex_attention_is_the_same_predicate(size):
    _, rows = rows_of(size)
    mask = allow(rows, rows, history=size["history"])
    function = mask_function(rows, rows, history=size["history"])
    n = torch.arange(len(rows))
    for sample in range(2):
        assert torch.equal(function(sample, 0, n[:, None], n[None, :]), mask[sample])


def test_reference_sees_itself_only_and_text_never_sees_the_target():
    _, rows = rows_of({"reference": 3, "text": 2, "blocks": 2, "size": 2, "copies": 1})
    mask = allow(rows, rows)[0]
    kind = rows.kind[0]
    assert not mask[kind == REFERENCE][:, kind != REFERENCE].any()
    assert not mask[kind == TEXT][:, kind == TARGET].any()
    assert mask[kind == TARGET][:, kind == REFERENCE].all()


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_no_row_is_without_a_key_not_even_padding(size):
    _, rows = rows_of(size)
    assert allow(rows, rows, history=size["history"]).any(-1).all()


def test_documents_do_not_see_each_other():
    _, rows = rows_of({"reference": 1, "text": 2, "blocks": 2, "size": 2, "copies": 1})
    other = Rows(**{**{f: getattr(rows, f) for f in rows.__dataclass_fields__}, "document": rows.document + 1})
    mask = allow(Rows.concatenate([rows, other]), Rows.concatenate([rows, other]))
    assert not mask[:, : len(rows), len(rows) :].any()
    assert torch.equal(mask[:, : len(rows), : len(rows)], mask[:, len(rows) :, len(rows) :])


def test_positions_are_contiguous_whatever_the_padding_and_shared_by_all_copies():
    prefix, rows = rows_of({"reference": 3, "text": 4, "blocks": 2, "size": 3, "copies": 2})
    for sample in range(2):
        valid = prefix.valid[sample]
        assert prefix.position[sample][valid].tolist() == list(range(int(valid.sum())))
        copies = rows.position[sample, len(prefix) :].view(3, 6)
        assert (copies == copies[0]).all()
        assert copies[0, 0] == valid.sum()


@pytest.mark.parametrize("block_size", range(1, 17))
def test_blocks_partition_the_frames(block_size):
    rows = block_rows(start=torch.zeros(1, dtype=torch.int64), first_block=0, num_blocks=3, block_size=block_size)
    assert rows.block[0].bincount().tolist() == [block_size] * 3


@pytest.mark.parametrize("history", [None, 3])
def test_the_tiles_of_the_block_mask_are_those_that_torch_finds_by_asking_the_predicate(history):
    from torch.nn.attention.flex_attention import create_block_mask

    rows = long_rows()
    batch, length = rows.kind.shape
    ours = block_mask(rows, history=history)
    theirs = create_block_mask(mask_function(rows, rows, history=history), batch, None, length, length, device="cpu")
    assert ours.shape == theirs.shape and length % 128
    for side in ("kv", "q"):
        for name in (f"{side}_num_blocks", f"{side}_indices", f"full_{side}_num_blocks", f"full_{side}_indices"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=0, atol=0)
    assert ours.full_kv_num_blocks.any() and (ours.kv_num_blocks + ours.full_kv_num_blocks < length / 128).any()


def long_rows() -> Rows:
    """Several tiles of rows, some of which nobody sees, some of which are wholly visible."""
    return rows_of({"reference": 4, "text": 140, "blocks": 80, "size": 4, "copies": 1, "history": None})[1]
