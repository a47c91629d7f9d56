"""What a run is imagined on where days and memory are told in advance."""

from __future__ import annotations

from dataclasses import dataclass

from calm.errors import ConfigError

__all__ = ["Hardware", "time_of"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Accelerators, and the share of their peak that training reaches.

    Args:
        num_gpus: in all, on one node or several.
        peak_tflops: of one, in 10^12 operations a second; 989 is an H100 SXM in dense bfloat16, 312 an A100 or A800.
        mfu: model FLOPs utilisation: the share of the peak that a step's own operations reach, without those that are
            done again (PaLM, arXiv 2204.02311, appendix B). 0.3 is an assumption, not a measurement.
    """

    num_gpus: int = 8
    peak_tflops: float = 989.0
    mfu: float = 0.3

    def __post_init__(self) -> None:
        for option, fits, allowed in (
            ("--gpus", self.num_gpus >= 1, "1 or more"),
            ("--peak-tflops", 0 < self.peak_tflops < float("inf"), "a finite number above 0"),
            ("--mfu", 0 < self.mfu <= 1, "above 0, at most 1"),
        ):
            if not fits:
                raise ConfigError("The hardware cannot be so", where=option, allowed=allowed)

    def days(self, flops: float) -> float:
        """Days that so many operations take."""
        return flops / (self.num_gpus * self.peak_tflops * 1e12 * self.mfu) / 86_400

    def __str__(self) -> str:
        return f"{self.num_gpus} GPUs of {self.peak_tflops:g} TFLOP/s at an MFU of {self.mfu:g}"


def time_of(days: float) -> str:
    """``12 days``, ``3.5 hours``, ``20 minutes``: in the largest unit that it fills."""
    for unit, length in (("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440)):
        if days >= length:
            return f"{days / length:.3g} {unit}"
    return "less than a minute"
