"""DDP and FSDP2 on two gloo processes: the same training, and checkpoints for any number of processes."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import free_port, run_all, start
from tests.training.engine_worker import main

#: ``CALM_LONG_TESTS=1`` runs the long form
STEPS = 50 if os.environ.get("CALM_LONG_TESTS") else 8


def launch(out: Path, *words: str, world_size: int) -> None:
    """Run `engine_worker` with ``words`` in so many gloo processes."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "ENGINE_WORLD_SIZE": str(world_size)}
    logs = [out / f"log-{rank}.txt" for rank in range(world_size)]
    workers = [
        start(main, out, [*words], folder=out, log=log, environ={**shared, "LOCAL_RANK": str(rank)})
        for rank, log in enumerate(logs)
    ]
    run_all(workers, logs, seconds=600)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("engines")
    launch(out, "alone=fsdp,max_steps=5", world_size=1)
    launch(
        out,
        f"ddp=ddp,max_steps={STEPS},val_every_steps=5,rendered=1",
        f"fsdp=fsdp,max_steps={STEPS},val_every_steps=5,num_kept_checkpoints={STEPS},activation_checkpointing=layers,rendered=1",
        "poisoned=fsdp,max_steps=6,save_every_steps=6,poison=1",
        "bf16=fsdp,max_steps=2,precision=bf16-mixed",
        f"resumed=fsdp,max_steps={STEPS},from=fsdp/checkpoints/step-00000005.ckpt",
        "joined=fsdp,max_steps=6,from=alone/checkpoints/last.ckpt",
        "lora_ddp=ddp,max_steps=6,save_every_steps=6,lora=1",
        "lora_fsdp=fsdp,max_steps=6,lora=1",
        "lora_resumed=fsdp,max_steps=6,lora=1,from=lora_fsdp/checkpoints/step-00000005.ckpt",
        f"splits={STEPS if STEPS > 8 else 5}",
        world_size=2,
    )
    launch(out, "parted=fsdp,max_steps=7,from=fsdp/checkpoints/step-00000005.ckpt", world_size=1)
    return out


def state(out, name):
    return torch.load(out / f"{name}.pt", weights_only=True)


def assert_same(first, second, *, atol=0.0):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def driven(found, name):
    """Where a weight was moved by more than rounding: near Adam's epsilon (1e-8) a step turns on the last digits."""
    kind, _, weight = name.partition("/")
    if kind not in ("model", "averaged") or f"exp_avg_sq/{weight}" not in found:
        return torch.ones_like(found[name], dtype=torch.bool)
    root = found[f"exp_avg_sq/{weight}"].sqrt()
    return (root == 0) | (root >= 1e-7)


def test_sharded_training_equals_ddp(out):
    ddp, fsdp = state(out, "ddp"), state(out, "fsdp")
    assert any(name.startswith("exp_avg_sq/expert") for name in ddp)
    kept = {name: driven(ddp, name) for name in ddp}
    assert sum(int((~each).sum()) for each in kept.values()) < 10
    assert_same(*({name: tensor * kept[name] for name, tensor in found.items()} for found in (ddp, fsdp)), atol=1e-6)


def test_the_expert_s_gradient_over_two_ranks_is_that_of_one_process(out):
    found = json.loads((out / "splits-0.json").read_text())
    assert len(found) >= 5 and max(found) <= 1e-6


def test_a_sharded_run_exports_the_averaged_weights_whole(out):
    exported = load_file(out / "fsdp/export/model.safetensors")
    averaged = {name.removeprefix("averaged/"): t for name, t in state(out, "fsdp").items() if name.startswith("averaged/")}
    assert averaged
    for name, tensor in averaged.items():
        torch.testing.assert_close(exported[name], tensor, rtol=0, atol=0)
    assert exported.keys() == load_file(out / "ddp/export/model.safetensors").keys()


def test_a_sharded_run_renders_its_samples(out):
    assert sorted(path.parent.name for path in (out / "fsdp/samples").rglob("*.wav"))[0] == "step-00000005"


def test_a_sharded_run_resumes_to_the_bit(out):
    weights = [load_file(out / name / "export/model.safetensors") for name in ("fsdp", "resumed")]
    assert_same(*weights)


def test_a_checkpoint_of_one_process_continues_on_two(out):
    assert_same(state(out, "alone"), state(out, "joined"))


def test_a_checkpoint_of_two_processes_continues_on_one(out):
    halves = torch.load(out / "parted.pt", weights_only=True)
    moments = [name for name in halves if name.startswith("exp_avg/")]
    assert moments and all(halves[f"model/{name.partition('/')[2]}"].shape == halves[name].shape for name in moments)
    assert_same(state(out, "resumed"), halves)
    assert (out / "parted/export/model.safetensors").is_file()


def test_a_nan_on_one_rank_skips_the_step_of_a_sharded_run(out):
    assert all(tensor.isfinite().all() for tensor in state(out, "poisoned").values())
    assert "train/skipped_steps,1.0" in (out / "poisoned/history.csv").read_text().replace("1\n", "1.0\n")


def test_a_sharded_run_in_bfloat16_keeps_float32_weights(out):
    assert {tensor.dtype for tensor in state(out, "bf16").values()} == {torch.float32}


def test_matrices_of_lora_train_sharded_as_by_ddp_resume_to_the_bit_and_are_merged_at_the_end(out):
    ddp, fsdp = state(out, "lora_ddp"), state(out, "lora_fsdp")
    assert any("lora_up" in name for name in fsdp)
    assert_same(ddp, fsdp, atol=1e-6)
    ddp, fsdp, resumed = (load_file(out / f"lora_{name}/export/model.safetensors") for name in ("ddp", "fsdp", "resumed"))
    assert not any("lora" in name for name in fsdp)
    assert_same(ddp, fsdp, atol=1e-6)
    assert_same(fsdp, resumed)


def test_only_whole_checkpoints_lie_in_the_folder(out):
    folder = out / "fsdp/checkpoints"
    assert (folder / "last.ckpt").is_symlink()
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    assert [path.resolve() for path in hidden] == [(folder / "last.ckpt").resolve()]
    assert (folder / "step-00000005.ckpt/.metadata").is_file()
