"""Ming-omni (Inclusion AI): of its family, Ming-omni-tts makes speech, sound and music."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.baselines.base import About, captioned, reported, spoken
from calm.baselines.process import Foreign
from calm.registry import register
from calm.types import TASKS

__all__ = ["MingOmni"]


@register("baseline", "ming_omni")
class MingOmni(Foreign):
    """Ming-omni: speech, sound and music, by the class of its repository's cookbook.

    The paper says "Ming-omni" without a version. Ming-omni-tts is the one of that family that makes all three, so it is
    run here: our reading. Settings of each task are the cookbook's. For music it expects fields of a description; here
    it gets the caption and the duration.

    Verified against ``cookbooks/test.py`` of inclusionAI/Ming-omni-tts (MingAudio.speech_generation). No licence was
    seen. Not run with real weights here.
    """

    about = About(
        title="Ming-omni",
        url="https://github.com/inclusionAI/Ming-omni-tts",
        code_licence="unknown",
        weights_licence="unknown",
        scope="unified",
        interface="class of the repository's cookbook, run by a program of ours",
    )
    published = reported(
        libritts=spoken(0.025, 0.553, 3.82),
        seed_tts_en=spoken(0.013, 0.633, 3.80),
        audiocaps=captioned(2.46, 0.27, 3.85, 3.60),
        song_describer=captioned(7.98, 0.07, 3.25, 2.92),
    )
    tasks = TASKS
    program = "ming_omni"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["ming_omni"] = "ming_omni"
        python: str = ""
        repo: str = ""
        weights: str = "inclusionAI/Ming-omni-tts-0.5B"
        device: str = "cuda:0"
        start_seconds: float = 1800.0
        timeout_seconds: float = 900.0

    def options(self) -> dict[str, Any]:
        return {"weights": self.config.weights, "device": self.config.device}
