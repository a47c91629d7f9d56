"""The precision `auto`: bfloat16 only where the device multiplies in it."""

from __future__ import annotations

import pytest
import torch

from calm.training.config import TrainerConfig
from calm.training.precision import precision_of
from calm.training.trainer import device_type


@pytest.mark.parametrize(
    ("has_bf16", "has_amx", "meant"), [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true")]
)
def test_auto_on_a_cpu_is_what_it_multiplies_fast(has_bf16, has_amx, meant, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert precision_of("auto", device="cpu") == meant


@pytest.mark.skipif("torch.cuda.is_available()", reason="there is a CUDA device here")
def test_auto_on_a_cuda_device_that_is_elsewhere_is_mixed_bfloat16():
    assert precision_of("auto", device="cuda") == "bf16-mixed"


def test_a_precision_that_is_named_is_kept():
    assert precision_of("bf16-mixed", device="cpu") == "bf16-mixed"
    assert precision_of("64-true", device="cuda") == "64-true"


def test_a_run_for_the_cpu_is_on_the_cpu():
    assert device_type(TrainerConfig(accelerator="cpu")) == "cpu"
