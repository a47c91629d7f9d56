"""What a generator is trained for. The default, `flow`, is the velocity of rectified flow."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from calm.model.flow import FlowTerms, Targets
from calm.model.prompt import Prompt
from calm.registry import register

if TYPE_CHECKING:
    from calm.model.generator import Generator

__all__ = ["Flow", "Objective"]


class Objective:
    """Abstract: from conditions and noisy targets to the errors that are minimised."""

    def begin(self, model: Generator, *, trained: bool) -> None:
        """Take what is needed of the first weights, once, before training; ``trained``: they are not random.

        Raises ConfigError where the model cannot be trained so.
        """

    def taken(self) -> dict[str, Tensor]:
        """Return the weights that ``begin`` has taken and no checkpoint holds: a resumed run needs the same."""
        return {}

    @abstractmethod
    def terms(
        self, model: Generator, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> FlowTerms:
        """Run the model on a whole training sequence.

        Args:
            history: latents of the clean rows [B, F, C], perhaps slightly noised; history_time: [B, F] or [B, 1].
        """


@register("objective", "flow")
class Flow(Objective):
    """Velocity x - eps of rectified flow, learned from data (Liu et al., 2022). The default."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["flow"] = "flow"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def terms(
        self, model: Generator, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> FlowTerms:
        velocity, stop_logits, idle = model.predict(prompt, targets, history=history, history_time=history_time)
        return targets.terms(velocity, stop_logits, idle, positive_weight=model.config.stop_positive_weight)
