"""What every flow head offers: the velocity of a noisy latent frame, given the model's state and the time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from calm.part import Part

__all__ = ["FlowHead", "TimeEmbedding", "modulate"]


class FlowHead(Part):
    """Abstract flow head. Built with ``dim`` (D, width of the hidden states) and ``latent_dim`` (C)."""

    #: whether it predicts averages of the velocity over a span of time
    averages: bool = False
    #: whether it reads the unconditional state as well, so that guidance can be in its weights
    reads_both: bool = False
    #: submodules that see times alone, one row a block
    timed: tuple[str, ...] = ()
    #: submodules without effect at first, which weights of a head without them may lack
    grown: tuple[str, ...] = ()

    @abstractmethod
    def forward(
        self, hidden: Tensor, *, noisy: Tensor, time: Tensor, span: Tensor | None = None, bare: Tensor | None = None
    ) -> Tensor:
        """Predict the velocity x - eps of rectified flow (Liu et al., 2022), or its average over a span.

        Args:
            hidden: state of the backbone [..., K, D]; the K rows are the frames of one block, and a
                head may mix them.
            noisy: x_t = (1 - t) eps + t x, [..., K, C].
            time: t in 0..1, [..., K], or [..., 1] where the frames share it: then what depends on it alone is
                computed once a block.
            span: r - t, shaped as ``time``, only where ``averages``: u(x_t, t, r) with x_r = x_t + (r - t) u along the
                flow (MeanFlow, Geng et al., 2025). None is a span of 0, the velocity itself.
            bare: state of the unconditional branch, shaped as ``hidden``, only where ``reads_both``.

        Returns: velocity [..., K, C].
        """

    def read(self, hidden: Tensor, bare: Tensor | None = None) -> Tensor:
        """What the steps of an ODE share of the states of the backbone; given to ``step`` in their place."""
        assert bare is None, "this head reads one state"
        return hidden

    def step(self, state: Tensor, *, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        """``forward`` with what ``read`` made of ``hidden``."""
        spans = {} if span is None else {"span": span}
        return self(state, noisy=noisy, time=time, **spans)

    def remember_times(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Put ``wrap`` around what turns times into vectors, for inference; what comes behind it may be wrapped with it."""
        for name in self.timed:
            if isinstance(module := getattr(self, name), TimeEmbedding):
                setattr(self, name, wrap(module))

    def script(self) -> None:
        """Make one call of what depends on the states, for inference with weights that stay as they are; here nothing."""

    def param_groups(self):
        return [{"part": "head", "params": list(self.parameters())}]


class TimeEmbedding(nn.Module):
    """Sinusoids of t (scaled to 0..1000, as in diffusion transformers) through a small MLP: [...] -> [..., dim]."""

    def __init__(self, dim: int, *, num_frequencies: int = 128) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.mlp = nn.Sequential(nn.Linear(2 * num_frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        weight = self.mlp[0].weight
        # The phases need float32 even where the model runs in bfloat16.
        exact = torch.promote_types(weight.dtype, torch.float32)
        exponent = torch.arange(self.num_frequencies, device=time.device, dtype=exact) / self.num_frequencies
        angle = 1000.0 * time.to(exact)[..., None] * 10_000.0**-exponent
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).to(weight.dtype))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's affine step (DiT, Peebles & Xie, 2022)."""
    return x * (1 + scale) + shift
