"""Drawing by weights so that the shares are exact, not only on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Tally"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What all draws so far leave behind: how often each candidate was drawn, and how far it lags its share.

    After any number of draws under equal weights, every candidate has its share to less than one draw
    (Tijdeman, The chairman assignment problem, 1980).
    """

    drawn: tuple[int, ...]
    weights: tuple[float, ...] | None
    lag: tuple[float, ...]

    @classmethod
    def empty(cls, size: int) -> Tally:
        """The tally of ``size`` candidates before the first draw."""
        return cls((0,) * size, None, (0.0,) * size)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Tally:
        """Read what ``to_dict`` returned."""
        weights = None if values["weights"] is None else tuple(values["weights"])
        return cls(tuple(values["drawn"]), weights, tuple(values["lag"]))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        weights = None if self.weights is None else list(self.weights)
        return {"drawn": list(self.drawn), "weights": weights, "lag": list(self.lag)}

    def draw(self, weights: tuple[float, ...]) -> tuple[int, Tally]:
        """Return the next candidate, and the tally after it. The weights sum to 1; one of 0 is never drawn."""
        if len(weights) == 1:
            return 0, Tally((self.drawn[0] + 1,), weights, (0.0,))
        # New weights start even: a candidate that is switched off must not be drawn for what it is owed.
        lag = self.lag if weights == self.weights else (0.0,) * len(weights)
        lag = [owed + weight for owed, weight in zip(lag, weights, strict=True)]
        bound = 1 - 1 / (2 * len(weights) - 2)
        # Those that have earned a draw; of them the one that would first lag too far behind.
        ready = [i for i, weight in enumerate(weights) if weight > 0 and lag[i] >= 1 - bound - 1e-9]
        chosen = min(ready, key=lambda i: (bound - lag[i]) / weights[i])
        lag[chosen] -= 1
        drawn = list(self.drawn)
        drawn[chosen] += 1
        return chosen, Tally(tuple(drawn), weights, tuple(lag))
