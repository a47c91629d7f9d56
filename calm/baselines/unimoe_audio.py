"""UniMoE-Audio (Liu et al., 2025, arXiv 2510.13344): speech and music by a mixture of experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.baselines.base import About, captioned, reported, spoken
from calm.baselines.process import Foreign
from calm.registry import register
from calm.types import Task

__all__ = ["UniMoEAudio"]


@register("baseline", "unimoe_audio")
class UniMoEAudio(Foreign):
    """UniMoE-Audio: speech and music, by the Python class of its folder.

    It needs the words of the reference.

    Verified against ``UniMoE-Audio/utils/UniMoE_Audio_mod.py`` and ``examples/inference.py`` (text_to_speech,
    text_to_music and their guidance of 1 and 10). Its batch framework passes ``target_text``, which that class does not
    know, so the class is called directly. Lengths are the system's own. Licence of the weights: the card of
    HIT-TMG/UniMoE-Audio-Preview; that of the code was not seen. Not run with real weights here.
    """

    about = About(
        title="UniMoE-Audio",
        url="https://github.com/HITsz-TMG/Uni-MoE",
        code_licence="unknown",
        weights_licence="Apache-2.0",
        scope="unified",
        interface="Python class of the folder UniMoE-Audio, run by a program of ours",
    )
    published = reported(
        libritts=spoken(0.078, 0.361, 3.52),
        seed_tts_en=spoken(0.019, 0.573, 3.72),
        song_describer=captioned(3.71, 0.22, 3.80, 3.60),
    )
    tasks = (Task.SPEECH, Task.MUSIC)
    program, needs_reference_text = "unimoe_audio", True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["unimoe_audio"] = "unimoe_audio"
        python: str = ""
        repo: str = ""
        weights: str = "HIT-TMG/UniMoE-Audio-Preview"
        speech_guidance: float = 1.0
        music_guidance: float = 10.0
        device: int = 0
        start_seconds: float = 1800.0
        timeout_seconds: float = 900.0

    def options(self) -> dict[str, Any]:
        config = self.config
        return {
            "weights": config.weights,
            "speech_guidance": config.speech_guidance,
            "music_guidance": config.music_guidance,
            "device_id": config.device,
        }
