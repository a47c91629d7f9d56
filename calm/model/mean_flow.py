"""`mean_flow`: a trained model learns to take the steps of its own guided flow in one, two or four evaluations.

The average velocity u(x_t, t, r) = (x_r - x_t) / (r - t) (MeanFlow, Geng et al., 2025) of a teacher, which is the
model as it was at the start. MeanFlow finds u by a differential identity, which needs no teacher but has a derivative
of the network in its target. In `head_flow` the flow runs in a thin head, so its trajectory is cheap to follow, and
the target is exact: u is regressed on whole steps of the trajectories that generation will begin, from its own noise,
with guidance inside. One trajectory serves all steps that lie on it.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from calm.errors import ConfigError
from calm.model.flow import FlowTerms, Targets
from calm.model.generator import Generator
from calm.model.grid import time_grid
from calm.model.head_flow import HeadFlow
from calm.model.objective import Objective
from calm.model.prompt import Prompt
from calm.registry import register
from calm.types import TASKS

__all__ = ["MeanFlow", "average_velocities", "trajectory", "unconditional", "whole_steps"]


@register("objective", "mean_flow")
class MeanFlow(Objective):
    """Average velocity of the guided teacher over whole steps, for generation in 1 to 4 steps."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["mean_flow"] = "mean_flow"
        #: numbers of steps in which the model will generate; each divides ``num_teacher_steps``
        num_steps: tuple[int, ...] = (1, 2, 4)
        #: Euler steps of the teacher, and their grid, on which the model will generate as well
        num_teacher_steps: int = 8
        grid: Literal["uniform", "sway"] = "uniform"
        #: guidance that is learned: w in v = v_u + w (v_c - v_u)
        cfg_scale_speech: float = 2.0
        cfg_scale_sound: float = 4.0
        cfg_scale_music: float = 4.0
        #: variance of the noise that trajectories start from, as in generation
        temperature_speech: float = 0.8
        temperature_sound: float = 1.0
        temperature_music: float = 1.0

        def __post_init__(self) -> None:
            object.__setattr__(self, "num_steps", tuple(self.num_steps))
            if not self.num_steps or any(n < 1 or self.num_teacher_steps % n for n in self.num_steps):
                raise ConfigError(
                    f"num_steps is {list(self.num_steps)}",
                    where="objective.num_steps",
                    allowed=f"whole numbers that divide num_teacher_steps ({self.num_teacher_steps}), at least one",
                )

    def __init__(self, config: Config) -> None:
        self.config = config

    def begin(self, model: Generator, *, trained: bool) -> None:
        """Copy the head as the teacher and freeze all but the head: its conditions come from one clean pass."""
        if not isinstance(model, HeadFlow) or not model.head.averages:
            raise ConfigError(
                "The model cannot learn averages of its flow",
                where="objective.name: mean_flow",
                allowed="model=head_flow with head.output=average_velocity",
            )
        if model.config.own_history_probability:
            raise ConfigError(
                "A head that learns averages cannot draw a history by its velocity",
                where="model.own_history_probability",
                allowed="0 with objective.name: mean_flow",
            )
        if not trained:
            raise ConfigError(
                "There is no teacher: the weights are random",
                where="objective.name: mean_flow",
                hint="start from a trained model: pretrained_ckpt_path=mini",
            )
        self.teacher = copy.deepcopy(model.head).eval().requires_grad_(False)
        model.requires_grad_(False)
        model.head.requires_grad_(True)

    def taken(self) -> dict[str, Tensor]:
        return self.teacher.state_dict()

    def terms(
        self, model: HeadFlow, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> FlowTerms:
        settings, k = self.config, targets.block_size
        scale, temperature = (self._by_task(key, targets) for key in ("cfg_scale", "temperature"))
        times = time_grid(settings.num_teacher_steps, grid=settings.grid)
        with torch.no_grad():
            given = {"history": history, "history_time": history_time}
            hidden, stop_logits, idle = model.condition(prompt, targets, **given)
            bare, _, _ = model.condition(unconditional(prompt), targets, **given)
            teacher = self.teacher.to(hidden.device)

            def velocity(x: Tensor, t: float) -> Tensor:
                time = x.new_full(x.shape[:-1], t)
                conditional, unconditional = (
                    model.read(state, x, time, block_size=k, head=teacher).to(x.dtype) for state in (hidden, bare)
                )
                return torch.lerp(unconditional, conditional, scale)

            states = trajectory(velocity, targets.noise.float() * temperature.sqrt(), times)
            starts, target, time, span = average_velocities(states, times, num_steps=settings.num_steps)
        unguided = bare if model.head.reads_both else None
        predicted = model.read(hidden, starts, time, span=span, bare=unguided, block_size=k)
        positive = model.config.stop_positive_weight
        return targets.terms(predicted, stop_logits, idle, positive_weight=positive, target=target, time=time)

    def _by_task(self, key: str, targets: Targets) -> Tensor:
        """The value of every clip's task, [B, 1, 1, 1]."""
        values = targets.noise.new_tensor([getattr(self.config, f"{key}_{task}") for task in TASKS])
        return values[targets.task][:, None, None, None].float()


def unconditional(prompt: Prompt) -> Prompt:
    """The unconditional prompt, without the rows that nobody would see."""
    dropped = prompt.without_conditions()
    return dataclasses.replace(dropped, text=dropped.text[:, :0], reference=dropped.reference[:, :0])


def trajectory(velocity: Callable[[Tensor, float], Tensor], noise: Tensor, times: list[float]) -> list[Tensor]:
    """Return x at every time of a grid, by Euler's rule from ``noise`` at its first."""
    states = [noise]
    for t, following in itertools.pairwise(times):
        states.append(states[-1] + (following - t) * velocity(states[-1], t))
    return states


def whole_steps(num_teacher_steps: int, *, num_steps: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return first and last index on the teacher's grid of all steps that the numbers of steps make, each once."""
    strides = (num_teacher_steps // number for number in num_steps)
    return sorted({(i, i + stride) for stride in strides for i in range(0, num_teacher_steps, stride)})


def average_velocities(
    states: list[Tensor], times: list[float], *, num_steps: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return starts [B, (P M), F, C] of P whole steps, their average velocities, and times and spans [B, (P M), F]."""
    pairs = whole_steps(len(times) - 1, num_steps=num_steps)
    like = states[0][..., 0]
    starts = torch.stack([states[i] for i, _ in pairs])
    averages = torch.stack([(states[j] - states[i]) / (times[j] - times[i]) for i, j in pairs])
    time = torch.stack([torch.full_like(like, times[i]) for i, _ in pairs])
    span = torch.stack([torch.full_like(like, times[j] - times[i]) for i, j in pairs])
    x, u, t, s = (rearrange(values, "p b m ... -> b (p m) ...") for values in (starts, averages, time, span))
    return x, u, t, s
