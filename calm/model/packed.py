"""Linear layers for inference that keep their weights in fewer bits: bfloat16, float16, or 8-bit integers.

They take and return what the `torch.nn.Linear` that they are made of takes and returns. fp16 and int8 are FBGEMM's
products, which torch has on a CPU only, and not on every one; `missing` says why a kind cannot be used here.
"""

from __future__ import annotations

import functools
import warnings
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calm.errors import CheckpointError
from calm.part import linear_of

__all__ = ["PACKED", "Int8Linear", "MixedLinear", "PackedLinear", "missing"]

#: largest share by which a usable kind may change a product of well-behaved numbers
_TOLERANCE = {"bf16": 0.01, "fp16": 0.001, "int8": 0.03, "int8_rows": 0.03}
#: channels that are mixed before rounding
_GROUP = 64
#: largest weight in 8 bits of which two products with 255 fit into 16 bits
_HALF_RANGE = 64
#: sizes of the layer that a kind is tried with
_WIDTH = 64


class PackedLinear(nn.Module):
    """Abstract stand-in of a linear layer: [..., D] -> [..., D'], float32 in and out, without gradients."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the product with the packed weights, plus bias."""

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        # Without this an export would lack these weights, or keep their rounding for good, and nobody would be told.
        raise CheckpointError(
            "Packed weights cannot be saved", where=prefix.removesuffix("."), hint="load the model with precision='fp32'"
        )


class BFloat16Linear(PackedLinear):
    """Weights and products in bfloat16, on any device."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self.register_buffer("weight", linear.weight.detach().bfloat16())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.bfloat16(), self.weight, self.bias).to(x.dtype)


class Float16Linear(PackedLinear):
    """Weights in float16, products in float32: half the bytes to read, rounding of 2^-11 at most."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self._packed = torch.ops.quantized.linear_prepack_fp16(*_weights(linear))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic_fp16(x, self._packed)


class Int8Linear(PackedLinear):
    """Weights in 8 bits with a scale per output; the input is rounded to 8 bits by its own range, call by call.

    That range is one for the whole tensor: rows of one call move each other, by as much as the rounding does. On a CPU
    that adds pairs of products in 16 bits, weights keep to half of their range: with a scale for every output they bear
    it better than the input, whose rounding is most of the error.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight, bias = _weights(linear)
        largest = _HALF_RANGE if _products_overflow() else 127
        scale = weight.abs().amax(dim=1).div(largest).clamp_min(torch.finfo(torch.float32).tiny)
        with warnings.catch_warnings():
            # torch announces that quantized tensors will go; `missing` notices when they have gone.
            warnings.simplefilter("ignore")
            quantized = torch.quantize_per_channel(weight, scale, torch.zeros_like(scale).int(), 0, torch.qint8)
            self._packed = torch.ops.quantized.linear_prepack(quantized, bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self._packed, False)  # False: the input has its whole range


class Int8RowsLinear(Int8Linear):
    """The same with a range for every row: what a row becomes does not depend on its neighbours, to the bit.

    Rows are scaled to -1..1, and two more channels without weight, 1 and -1, give all of them the same range.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear_of(F.pad(linear.weight.detach().float(), (0, 2)), trained=False))
        self.in_features = linear.in_features
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())
        self.register_buffer("ends", torch.tensor([1.0, -1.0]))
        self.tiny = torch.finfo(torch.float32).tiny

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True).clamp_min_(self.tiny)
        even = torch.cat([x / scale, self.ends.expand_as(x[..., :2])], dim=-1)
        y = torch.ops.quantized.linear_dynamic(even, self._packed, False)
        return y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale)


class MixedLinear(PackedLinear):
    """A packed layer behind a mixing of its input, for inputs with a few large channels that would take all the range.

    Channels are mixed in groups by a Hadamard matrix, so that a large one is shared out over its group; the weights
    are mixed in the same way, and the product stays what it was (QuaRot, arXiv 2404.00456).
    """

    def __init__(self, linear: nn.Linear, kind: type[PackedLinear]) -> None:
        super().__init__(linear)
        # The largest power of two that divides the width, up to the group's size.
        self.group = min(_GROUP, linear.in_features & -linear.in_features)
        self.register_buffer("mix", _hadamard(self.group))
        weight = (linear.weight.detach().float().unflatten(1, (-1, self.group)) @ self.mix).flatten(1)
        self.inner = kind(linear_of(weight, linear.bias, trained=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x.reshape(-1, self.group) @ self.mix).view(x.shape))


PACKED: dict[str, type[PackedLinear]] = {
    "bf16": BFloat16Linear,
    "fp16": Float16Linear,
    "int8": Int8Linear,
    "int8_rows": Int8RowsLinear,
}


@functools.cache
def missing(kind: str) -> str | None:
    """Return why layers of this kind cannot be used on this machine's CPU, or None where they compute what they should."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight, bias = torch.randn(_WIDTH, _WIDTH, generator=generator), torch.randn(_WIDTH, generator=generator)
        linear = linear_of(weight, bias, trained=False)
        x = torch.randn(4, _WIDTH, generator=generator)
        try:
            found, expected = PACKED[kind](linear)(x), linear(x)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            return str(error).split("\n")[0]
        off = float((found - expected).norm() / expected.norm())
    return None if off <= _TOLERANCE[kind] else f"its products are off by {off:.1%}"


@functools.cache
def _products_overflow() -> bool:
    """Whether this CPU adds pairs of 8-bit products in 16 bits (x86 before VNNI): one factor then has to keep to 7 bits."""
    ones = torch.ones(1, _WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = torch.quantize_per_tensor(ones.expand(_WIDTH, -1).contiguous(), 1 / 127, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(weight, None)
    found = torch.ops.quantized.linear_dynamic(ones, packed, False)
    return not torch.allclose(found, torch.tensor(float(_WIDTH)), rtol=0.02)


def _hadamard(size: int) -> Tensor:
    """Orthogonal matrix [size, size] of equal magnitudes, size a power of two (Sylvester); it is its own inverse."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)])
    return matrix / size**0.5


def _weights(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    bias = None if linear.bias is None else linear.bias.detach().float()
    return linear.weight.detach().float().contiguous(), bias
