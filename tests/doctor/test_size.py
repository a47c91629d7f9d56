"""How large a run is: every figure that `calm doctor` prints, against an independent count."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config
from calm.doctor import Hardware, size_of
from calm.doctor.case import Case
from calm.doctor.cost import Rows, step_flops
from calm.doctor.hardware import time_of
from calm.doctor.memory import GIB, largest_batch, memory_of
from calm.doctor.stage import count_clip, stage_work
from calm.errors import ConfigError
from calm.model.build import build_model, build_outline
from calm.model.checkpoint import without_weights
from calm.vae.attention import MIN_BLOCK, WindowedAttention
from tests.doctor.test_activations import CLIPS, FRAMES, REFERENCE, TEXT, full_batch, root_of

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = ["data.train=no_shards", "data.validation=null"]
COPIES = 2


def config_of(experiment: str, *words: str):
    return without_weights(load_config([f"experiment={experiment}", *NOWHERE, *words], conf_dir=ROOT / "conf"))


@pytest.mark.parametrize(
    ("model", "num_kv_heads", "options"),
    [("ar_flow", 4, {}), ("ar_flow", 2, {}), ("head_flow", 2, {}), ("head_flow", 2, {"own_history_probability": 0.5})],
)
def test_the_formula_counts_what_torch_counts_forward_and_backward_within_three_percent(model, num_kv_heads, options):
    root, batch = root_of(model, num_kv_heads=num_kv_heads).train(), full_batch()
    root.config = dataclasses.replace(root.config, **options)
    batch = dataclasses.replace(batch, num_text=torch.full((CLIPS,), TEXT))
    with FlopCounterMode(display=False) as encoding, torch.no_grad():
        root.vae.to_latents(batch.audio), root.vae.to_latents(batch.reference)
    # Attention as plain products: what the fused kernel does again in its backward pass is no work of the model.
    with FlopCounterMode(display=False) as step, sdpa_kernel(SDPBackend.MATH):
        root.losses(batch)["loss"].backward()
    in_backbone = model == "ar_flow"
    audio = FRAMES * (1 + COPIES if in_backbone else 1) + REFERENCE
    sequence = audio + TEXT + (0 if in_backbone else 4)
    rows = Rows(sequence=sequence, audio=audio, clean=FRAMES, noisy=FRAMES * COPIES, blocks=FRAMES * COPIES / 4, expert=audio)
    counted = step.get_total_flops() - encoding.get_total_flops()
    assert step_flops(root, rows, clips=CLIPS) == pytest.approx(counted, rel=0.03)


def test_the_work_of_a_vae_is_that_of_its_layers_and_attention_three_times_over():
    config = config_of("mini_vae")
    with torch.random.fork_rng():
        vae = build_model(config).vae
    frames = round(config.data.crop_seconds * vae.frame_rate)
    operations = 0

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal operations
        if isinstance(module, WindowedAttention):
            block = min(output.shape[1], max(module.before, module.after, MIN_BLOCK))
            keys = -(-output.shape[1] // block) * block * (module.before + block + module.after)
            operations += 2 * 2 * keys * output.shape[2]
        else:
            # A multiplication and an addition for every weight that an output value depends on.
            operations += 2 * output.numel() * module.weight.numel() // module.weight.shape[0]

    layers = [module for module in vae.modules() if isinstance(module, nn.Linear | nn.Conv1d | WindowedAttention)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        vae.decode(vae.encode(torch.zeros(1, 1, frames * vae.hop)).mean)
    for hook in hooks:
        hook.remove()
    assert not any(isinstance(module, nn.ConvTranspose1d | nn.Conv2d) for module in vae.modules())
    counted = count_clip(config, has_adversary=False, is_frozen=False).flops
    # The analysis of the spectrum comes on top; the first layers pass no gradient on.
    assert counted == pytest.approx(3 * operations, rel=0.04)


def test_a_vae_stage_has_a_stretch_for_each_change_and_a_frozen_encoder_spares_its_backward_pass():
    words = ["adversary=stft_disc_small", "trainer.max_steps=10", "model.adversary_start_step=4", "model.freeze_encoder_step=7"]
    work = stage_work(config_of("tiny_vae", *words))
    assert [steps for steps, _ in work] == [4, 3, 3]
    alone, contest, frozen = (count for _, count in work)
    assert alone.flops < contest.flops > frozen.flops and alone.kept_bytes < contest.kept_bytes > frozen.kept_bytes


def test_bytes_kept_on_the_meta_device_are_those_that_autograd_keeps_of_real_tensors():
    config = config_of("tiny_vae", "adversary=none")
    model = dataclasses.replace(config.model, crop_seconds=None)
    with torch.random.fork_rng():
        root = build_model(dataclasses.replace(config, model=model)).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in root.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept.setdefault(place, tensor)
        return tensor

    samples = round(config.model.crop_seconds * root.vae.frame_rate) * root.vae.hop
    batch = dataclasses.replace(full_batch(), audio=torch.randn(1, 1, samples))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        root.losses(batch)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert count_clip(config, has_adversary=False, is_frozen=False).kept_bytes == pytest.approx(measured, rel=0.05)


def test_parameters_by_part_add_up_to_those_of_the_model():
    config = config_of("tiny")
    with torch.random.fork_rng():
        root = build_model(config)
    size = size_of(config)
    assert size.total == sum(p.numel() for p in root.parameters())
    assert size.trained == sum(p.numel() for p in root.parameters() if p.requires_grad)
    assert [part.part for part in size.parts if not part.is_trained] == ["vae"]


@pytest.mark.parametrize(
    ("days", "words"), [(12.0, "12 days"), (1.5, "1.5 days"), (0.5, "12 hours"), (1 / 96, "15 minutes"), (1e-8, "less than a minute")]
)
def test_time_is_told_in_the_largest_unit_that_it_fills(days: float, words: str):
    assert time_of(days) == words


def test_days_are_operations_over_gpus_peak_and_share():
    size = size_of(config_of("tiny"), hardware=Hardware(num_gpus=2, peak_tflops=100, mfu=0.5))
    assert size.total_flops == pytest.approx(size.step_flops * size.max_steps)
    assert size.days == pytest.approx(size.total_flops / (2 * 100e12 * 0.5) / (24 * 3600))
    assert Hardware(num_gpus=16).days(1e20) == pytest.approx(Hardware().days(1e20) / 2)


@pytest.mark.parametrize("wrong", [{"num_gpus": 0}, {"mfu": 0.0}, {"mfu": 1.5}, {"peak_tflops": -1.0}])
def test_hardware_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="hardware"):
        Hardware(**wrong)


def test_a_rank_of_fsdp_holds_its_share_of_twenty_bytes_a_weight_and_what_it_gathers():
    case = Case(config_of("audiocalm_1p7b"))
    memory = memory_of(case, device="cuda", world_size=8, strategy="fsdp", recompute="layers")
    sizes = size_of(case)
    own = {part.part: part.parameters for part in sizes.parts}
    assert memory.gradients + memory.optimizer + memory.averaged == pytest.approx(16 * sizes.trained / 8, rel=1e-6)
    layer = own["backbone"] / 28
    no_layer = own["text"] + own["head"] + own["audio"] + own["expert"]
    assert memory.gathered == pytest.approx(8 * (no_layer + 2 * layer), rel=1e-3)
    ddp = memory_of(case, device="cuda", world_size=8, strategy="ddp", recompute="layers")
    assert ddp.gathered == 0 and ddp.buckets == ddp.gradients == 4 * sizes.trained


def test_layers_that_are_computed_again_keep_their_inputs_alone_and_one_layer_at_a_time():
    case = Case(config_of("audiocalm_1p7b"))
    whole, again = (memory_of(case, device="cuda", world_size=8, recompute=way).activations for way in ("none", "layers"))
    shape = largest_batch(case, world_size=8)
    rows = shape.clips * (shape.prefix + 2 * shape.frames)
    inputs = 28 * rows * 2048 * 4
    # What one layer keeps is less than a tenth of what 28 of them do; the rest is head and embedding, in both.
    assert inputs < again < inputs + 0.1 * whole


def test_more_ranks_share_the_batch_and_with_fsdp_the_weights():
    few, many = (size_of(config_of("audiocalm_0p6b"), hardware=Hardware(num_gpus=n)) for n in (8, 64))
    assert many.step_flops == few.step_flops
    assert all(b.gib < a.gib for a, b in zip(few.memory, many.memory, strict=True))
    fsdp = [size.memory[-1].gib for size in (few, many)]
    assert fsdp[1] * GIB > 16 * many.trained / 64


def test_an_outline_takes_no_memory_for_what_it_counts_and_has_the_shapes_of_the_model():
    config = config_of("tiny", "adversary=none")
    with torch.random.fork_rng():
        outline, model = build_outline(config), build_model(config)
    assert {n: p.shape for n, p in outline.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    assert {p.is_meta for name, p in outline.named_parameters() if not name.startswith("vae.")} == {True}
    assert not any(p.is_meta for p in outline.vae.parameters())


def test_the_command_prints_the_size_for_the_hardware_that_it_is_told(light, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ["doctor", *light, "--gpus", "16", "--peak-tflops", "312", "--mfu", "0.4"]
    printed = CliRunner().invoke(app, words, prog_name="calm").output
    assert "16 GPUs of 312 TFLOP/s at an MFU of 0.4" in printed and "memory of a rank, fsdp" in printed
    told = json.loads(CliRunner().invoke(app, [*words, "--json"], prog_name="calm").output)["size"]
    assert told["hardware"] == {"num_gpus": 16, "peak_tflops": 312.0, "mfu": 0.4}
    assert told["total"] == sum(part["parameters"] for part in told["parts"])


def test_the_page_of_sizes_is_what_its_command_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    assert importlib.import_module("sizes").page() == (ROOT / "docs" / "SIZES.md").read_text()


def test_a_stage_is_counted_after_transformers_has_hidden_linspace_from_default_devices(monkeypatch):
    plain = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *args, device="cpu", **options: plain(*args, device=device, **options))
    assert size_of(config_of("tiny_vae")).total > 0
