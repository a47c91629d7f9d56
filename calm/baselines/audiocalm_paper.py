"""The paper's own row: figures alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from calm.baselines.base import About, Baseline, Outcome, Request, captioned, reported, spoken
from calm.errors import ConfigError
from calm.registry import register
from calm.types import TASKS

__all__ = ["AudioCALMPaper"]


@register("baseline", "audiocalm_paper")
class AudioCALMPaper(Baseline):
    """AudioCALM as the paper reports it: figures only, no code and no weights are public."""

    about = About(
        title="AudioCALM (paper)",
        url="https://arxiv.org/abs/2606.23080",
        code_licence="none published",
        weights_licence="none published",
        scope="unified",
        interface="none: no code and no weights are public",
    )
    published = reported(
        libritts=spoken(0.020, 0.668, 4.02),
        seed_tts_en=spoken(0.011, 0.672, 3.95),
        audiocaps=captioned(1.95, 0.37, 3.98, 3.95),
        song_describer=captioned(2.02, 0.36, 3.99, 3.92),
    )
    tasks = TASKS

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["audiocalm_paper"] = "audiocalm_paper"

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        raise ConfigError(
            "The paper's system cannot be run: no code and no weights are public",
            where="baseline.audiocalm_paper",
            hint="its figures are in `calm.baselines.published`; evaluate a model of this project instead",
        )
