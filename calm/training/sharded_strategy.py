"""`fsdp`: Lightning's strategy for models that shard themselves, with checkpoints that are whole or absent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.optim import Optimizer

from calm.errors import CheckpointError
from calm.training.sharded_checkpoint import read_sharded, write_sharded

__all__ = ["ShardedStrategy"]

#: callback that keeps the averaged weights, and its entry that holds them
EMA, SHADOW = "EMA", "shadow"


class ShardedStrategy(ModelParallelStrategy):
    """One data-parallel group of all processes. Weights, Adam's moments and averaged weights are saved in slices.

    A checkpoint keeps which parameters have moments: those of an expert that was never on have none, and a resumed
    run must not invent them. Learning rates are not kept: they are functions of the step.

    Args:
        check: called with what is no tensor of a checkpoint, and its path; raises CheckpointError where it belongs
            to another run.
    """

    def __init__(self, *, check: Callable[[dict[str, Any], Path], None]) -> None:
        super().__init__(tensor_parallel_size=1)
        self.check = check

    def _setup_distributed(self) -> None:
        super()._setup_distributed()
        self._data_parallel_size = self.world_size

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return self.lightning_module.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return {}  # saved by `save_checkpoint`, by the names of the parameters

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        checkpoint = dict(checkpoint)
        tensors = {f"model.{name}": tensor for name, tensor in checkpoint.pop("state_dict").items()}
        for name, parameter in self.lightning_module.named_parameters():
            tensors |= {f"optimizer.{name}/{key}": value for key, value in self._moments(parameter).items()}
        callbacks = checkpoint["callbacks"]
        if EMA in callbacks:
            tensors |= {f"averaged.{name}": tensor for name, tensor in callbacks[EMA][SHADOW].items()}
            checkpoint["callbacks"] = {**callbacks, EMA: {**callbacks[EMA], SHADOW: {}}}
        token = self.broadcast(uuid.uuid4().hex)
        run = {**checkpoint, "state_dict": {}}
        write_sharded(Path(filepath), tensors=tensors, run=run, token=token, first=self.is_global_zero)

    @torch.no_grad()
    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        path, filled = Path(checkpoint_path), {}

        def templates(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
            filled.update(self._templates(stored, path))
            return dict(filled)

        run = read_sharded(path, templates=templates)
        self.check(run, path)
        parameters = dict(self.lightning_module.named_parameters())
        for name, tensor in filled.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                parameter, _, key = rest.rpartition("/")
                self._optimizer_of(parameters[parameter]).state[parameters[parameter]][key] = tensor
            elif kind == "averaged":
                run["callbacks"][EMA][SHADOW][rest] = tensor
        return run

    def remove_checkpoint(self, filepath: Any) -> None:
        raise NotImplementedError("calm.training.checkpoints removes old checkpoints")

    def _templates(self, stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """The model's own tensors, and empty ones, sliced like their parameter, for all that belongs to a parameter."""
        module = self.lightning_module
        parameters, own = dict(module.named_parameters()), module.state_dict()
        found: dict[str, Tensor] = {}
        for name, tensor in stored.items():
            kind, _, rest = name.partition(".")
            like = own.get(rest) if kind == "model" else parameters.get(rest.rpartition("/")[0] or rest)
            if like is None or (tensor.shape not in (like.shape, torch.Size(()))):
                raise CheckpointError(f"The checkpoint belongs to another model: '{rest}' has no place", where=path)
            if kind == "model":
                found[name] = like
            elif tensor.shape == like.shape:
                found[name] = torch.zeros_like(like.detach(), dtype=tensor.dtype)
            else:
                found[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        absent = [name for name in module.state_dict() if f"model.{name}" not in found]
        if absent and module.strict_loading:
            raise CheckpointError(f"The checkpoint belongs to another model: '{absent[0]}' is missing", where=path)
        return found

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        states = (optimizer.state for optimizer in self.optimizers)
        return next((dict(state[parameter]) for state in states if parameter in state), {})

    def _optimizer_of(self, parameter: Tensor) -> Optimizer:
        for optimizer in self.optimizers:
            if any(parameter is other for group in optimizer.param_groups for other in group["params"]):
                return optimizer
        raise CheckpointError("The checkpoint has Adam's moments of a parameter that is not trained", where="optimizer")
