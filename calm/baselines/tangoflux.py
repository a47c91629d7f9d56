"""TangoFlux (Hung et al., 2024, arXiv 2412.21037): sound by flow matching and preference optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.baselines.base import About, captioned, reported
from calm.baselines.process import Foreign
from calm.registry import register
from calm.types import Task

__all__ = ["TangoFlux"]


@register("baseline", "tangoflux")
class TangoFlux(Foreign):
    """TangoFlux: sound of up to 30 s, by the Python class of its package.

    Its package is installed by ``pip install git+https://github.com/declare-lab/TangoFlux``, here or in the environment
    of ``python``. Verified against copies of ``tangoflux/__init__.py`` (TangoFluxInference.generate with steps, duration
    and guidance_scale) and ``tangoflux/model.py`` of declare-lab. Licence of the weights: LICENSE.md beside them. Not run
    with real weights here.
    """

    about = About(
        title="TangoFlux",
        url="https://github.com/declare-lab/TangoFlux",
        code_licence="unknown",
        weights_licence="research only, with the Stability AI Community Licence",
        scope="sound",
        interface="Python class of the package, run by a program of ours",
    )
    published = reported(audiocaps=captioned(2.70, 0.36, 3.82, 3.85))
    tasks = (Task.SOUND,)
    program, needs_repo = "tangoflux", False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["tangoflux"] = "tangoflux"
        python: str = ""
        repo: str = ""
        weights: str = "declare-lab/TangoFlux"
        num_steps: int = 50
        guidance: float = 4.5
        seconds: float = 10.0
        max_seconds: float = 30.0
        start_seconds: float = 1800.0
        timeout_seconds: float = 600.0

    def options(self) -> dict[str, Any]:
        names = ("weights", "num_steps", "guidance", "seconds", "max_seconds")
        return {name: getattr(self.config, name) for name in names}
