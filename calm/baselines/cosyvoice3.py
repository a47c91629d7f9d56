"""CosyVoice 3 (Du et al., 2025, arXiv 2505.17589): zero-shot speech by a language model and flow matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.baselines.base import About, reported, spoken
from calm.baselines.process import Foreign
from calm.registry import register
from calm.types import Task

__all__ = ["CosyVoice3"]


@register("baseline", "cosyvoice3")
class CosyVoice3(Foreign):
    """CosyVoice 3.0: zero-shot speech, by the Python class of its repository.

    Without the words of a reference, its cross-lingual interface is used, which needs none. Which of the published
    sizes the paper ran is not known; the default is the open Fun-CosyVoice3-0.5B.

    Verified against the repository's ``example.py`` (AutoModel, inference_zero_shot, inference_cross_lingual and the
    instruction before a prompt). Code licence: headers of its files. Licence of the weights: only a copy's card was
    seen (Apache-2.0). Not run with real weights here.
    """

    about = About(
        title="CosyVoice 3.0",
        url="https://github.com/FunAudioLLM/CosyVoice",
        code_licence="Apache-2.0",
        weights_licence="unknown",
        scope="speech",
        interface="Python class of the repository, run by a program of ours",
    )
    published = reported(libritts=spoken(0.022, 0.697, 3.96), seed_tts_en=spoken(0.015, 0.695, 3.88))
    tasks = (Task.SPEECH,)
    program = "cosyvoice3"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["cosyvoice3"] = "cosyvoice3"
        python: str = ""
        repo: str = ""
        weights: str = "pretrained_models/Fun-CosyVoice3-0.5B"
        start_seconds: float = 1800.0
        timeout_seconds: float = 600.0

    def options(self) -> dict[str, Any]:
        return {"weights": self.config.weights}
