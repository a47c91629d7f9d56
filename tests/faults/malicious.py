"""Attacks by files: each is written into a folder and handed to a public reader, which must refuse it.

An attack is ``f(folder, canary)``. The payloads create the file ``canary`` where anything of them is executed; the
environment holds a secret under ``VARIABLE``, which must not come out. The attacks themselves are in
`tests.faults.malicious_data` and `tests.faults.malicious_models`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["ATTACKS", "BOMB_BYTES", "VARIABLE", "Attack", "Payload", "attack", "several"]

VARIABLE = "CALM_TEST_SECRET"
#: what a zip bomb unpacks to
BOMB_BYTES = 100 << 20

Attack = Callable[[Path, Path], object]
#: name -> the attack, and words of the refusal: it must be refused for what it is
ATTACKS: dict[str, tuple[Attack, str]] = {}


class Payload:
    """An object whose pickle runs a command when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.canary}",)


def attack(said: str) -> Callable[[Attack], Attack]:
    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__.replace("_", " ")] = function, said
        return function

    return register


def several(said: str, names: dict[str, object], make: Callable[..., Attack]) -> None:
    """Register one attack per entry: name -> what ``make`` gets."""
    ATTACKS.update({name: (make(value), said) for name, value in names.items()})
