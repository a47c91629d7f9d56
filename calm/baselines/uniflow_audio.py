"""UniFlow-Audio (Xu et al., 2025, arXiv 2509.24391): one flow matching model for many audio tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.baselines.base import About, captioned, reported, spoken
from calm.baselines.process import Foreign
from calm.registry import register
from calm.types import TASKS

__all__ = ["UniFlowAudio"]


@register("baseline", "uniflow_audio")
class UniFlowAudio(Foreign):
    """UniFlow-Audio: speech, sound and music, by the command line class of its repository.

    Verified against the repository's ``inference_cli.py``: tts, t2a and t2m with ``model_name_or_path`` (its guide says
    ``model_name``, which the file does not know). The size that the paper ran is not known; the default is the
    repository's, v1.1-XLarge. Lengths are the system's own. Code licence: its LICENSE; the weights have no model card.
    Not run with real weights here.
    """

    about = About(
        title="UniFlow-Audio",
        url="https://github.com/wsntxxn/UniFlow-Audio",
        code_licence="MIT",
        weights_licence="unknown",
        scope="unified",
        interface="command line class of the repository, run by a program of ours",
    )
    published = reported(
        libritts=spoken(0.032, 0.570, 3.50),
        seed_tts_en=spoken(0.058, 0.573, 3.45),
        audiocaps=captioned(4.22, 0.35, 3.62, 3.80),
        song_describer=captioned(6.39, 0.15, 3.45, 3.25),
    )
    tasks = TASKS
    program = "uniflow_audio"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["uniflow_audio"] = "uniflow_audio"
        python: str = ""
        repo: str = ""
        weights: str = "UniFlow-Audio-v1.1-XLarge"
        num_steps: int = 25
        guidance: float = 5.0
        start_seconds: float = 1800.0
        timeout_seconds: float = 600.0

    def options(self) -> dict[str, Any]:
        return {name: getattr(self.config, name) for name in ("weights", "num_steps", "guidance")}
