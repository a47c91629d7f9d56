"""A small model computes with few threads, unless the user said how many."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from calm.generation import AudioCALM
from calm.generation.threads import fit_threads, useful_threads

LARGE = nn.Linear(12_000, 12_000, device="meta")  # 144 M weights


@pytest.fixture
def threads():
    """The number of threads, which is given back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_mini_keeps_one_thread_busy_in_any_precision(precision):
    assert useful_threads(AudioCALM.from_pretrained("mini", precision=precision).model) == 1


def test_a_large_model_keeps_several_busy():
    assert useful_threads(LARGE) == 3


def test_threads_are_never_more_than_there_were_and_the_users_word_stays(threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    fit_threads(LARGE)
    assert torch.get_num_threads() == 2
    fit_threads(nn.Linear(8, 8))
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    fit_threads(nn.Linear(8, 8))
    assert torch.get_num_threads() == 2
