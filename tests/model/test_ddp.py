"""The real generator under DDP: two processes, one without speech, the expert switched on in between."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.factory import tiny_batch, tiny_generator
from tests.processes import free_port, run_all, start

TASKS = ([0, 0, 1], [1, 2, 2])


class Step(torch.nn.Module):
    """What Lightning's DDP strategy wraps: a module whose forward is the training step."""

    def __init__(self, root) -> None:
        super().__init__()
        self.root = root

    def forward(self, batch, seed: int):
        return self.root.losses(batch, generator=torch.Generator().manual_seed(seed))["loss"]


def worker(rank: int, port: str, model: str, expert: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    root = tiny_generator(model, expert=expert).train()
    step = DistributedDataParallel(Step(root))
    seen = []
    for phase, enabled in enumerate([False, True]):
        root.expert_enabled = enabled
        root.zero_grad()
        step(tiny_batch(TASKS[rank], reference_frames=4, seed=rank), seed=phase).backward()
        seen.append({name: p.grad.clone() for name, p in root.named_parameters() if p.grad is not None})
    torch.save(seen, f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("model", "expert"), [("ar_flow", "speech_ffn"), ("head_flow", "speech_ffn"), ("ar_flow", "symmetric_ffn")]
)
def test_ranks_agree_through_a_phase_change_although_one_never_sees_speech(model, expert, tmp_path):
    port, logs = free_port(), [tmp_path / f"log-{rank}.txt" for rank in range(2)]
    workers = [start(worker, rank, port, model, expert, folder=tmp_path, log=log) for rank, log in enumerate(logs)]
    run_all(workers, logs, seconds=120)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    trainable = [name for name, p in tiny_generator(model, expert=expert).named_parameters() if p.requires_grad]
    for phase, enabled in enumerate([False, True]):
        assert sorted(first[phase]) == sorted(second[phase]) == sorted(trainable)
        for name, gradient in first[phase].items():
            torch.testing.assert_close(second[phase][name], gradient, rtol=0, atol=0)
        expert = [gradient for name, gradient in first[phase].items() if name.startswith("expert.")]
        assert any(gradient.any() for gradient in expert) is enabled
