"""How a trained model is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from calm.errors import ConfigError
from calm.generation.checks import LIMITS, check

__all__ = ["SamplerConfig"]


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Defaults of generation; every call may override them. Raises ConfigError for a value beyond its limit."""

    name: str = "default"
    #: ODE steps per block; NFE = steps x order of the solver x (2 with guidance)
    num_steps: int = 10
    #: "average" is for models that know averages of their flow (objective `mean_flow`), and they take no other
    solver: Literal["euler", "midpoint", "average"] = "euler"
    #: spacing of the steps: "uniform", "sway" (dense near the noise; F5-TTS, Chen et al., 2024), or "auto": uniform for
    #: up to 6 steps, sway for more
    grid: Literal["auto", "uniform", "sway"] = "auto"
    #: w in v = v_u + w (v_c - v_u): 1 is the conditional branch alone
    cfg_scale_speech: float = 2.0
    cfg_scale_sound: float = 4.0
    cfg_scale_music: float = 4.0
    guidance: Literal["cfg", "cfg_zero_star"] = "cfg"
    #: guidance acts only for t in this interval
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    #: variance of the noise that a block starts from
    temperature_speech: float = 0.8
    temperature_sound: float = 1.0
    temperature_music: float = 1.0
    #: t that the finished blocks are said to be at: below 1 they count as noised, so that errors add up less. Only for
    #: models trained with noisy histories (``model.history_noise_level``)
    history_time_speech: float = 1.0
    history_time_sound: float = 1.0
    history_time_music: float = 1.0
    #: K; 0 for the first size that the model was trained with
    block_size: int = 0
    #: sliding history in blocks; 0 for all
    window_blocks: int = 0
    #: stop where the stop head's probability exceeds this
    stop_threshold: float = 0.5
    #: cap for clips without a requested duration
    max_seconds: float = 30.0
    #: speech cannot stop before so many seconds per character of its words: faster than anyone speaks
    min_seconds_per_character: float = 0.025

    #: tasks whose clips are checked as they grow, where no duration is asked for
    self_check: tuple[str, ...] = ("speech",)
    #: silence is more than so many dB below the loudest 20 ms so far
    silence_db: float = 40.0
    #: silence after the last sound that is kept at the end; 0 keeps all
    tail_seconds: float = 0.15
    #: a clip that has begun ends after so much silence; 0 for never
    silence_seconds: float = 2.0
    #: a clip ends when it has made the same stretch of 0.2 to 3 s so often in a row; 0 for never
    repetition_count: int = 3
    #: cosine of two stretches of latents above which they are the same
    repetition_similarity: float = 0.7

    def __post_init__(self) -> None:
        keys = [key for key in LIMITS if key.startswith("sampler.")]
        check({key: getattr(self, key.removeprefix("sampler.")) for key in keys}, error=ConfigError)
