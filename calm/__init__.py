"""AudioCALM: one causal model that speaks, makes sounds and makes music.

    from calm import AudioCALM

    model = AudioCALM.from_pretrained("mini")
    clip = model.generate("A bell rings twice, then rain falls.", task="sound", duration=4)[0]

The public names are listed in ``__all__``; they are imported when they are first used (PEP 562), so
that ``import calm`` loads neither torch nor anything else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calm.config import load_config
    from calm.generation import AudioCALM, Generation, VoiceReference
    from calm.registry import build, components, register
    from calm.safety import Consent
    from calm.types import Task, Waveform

__version__ = "0.1.0"

_HOMES = {
    "AudioCALM": "calm.generation",
    "Consent": "calm.safety",
    "Generation": "calm.generation",
    "Task": "calm.types",
    "VoiceReference": "calm.generation",
    "Waveform": "calm.types",
    "build": "calm.registry",
    "components": "calm.registry",
    "load_config": "calm.config",
    "register": "calm.registry",
}

__all__ = [
    "AudioCALM",
    "Consent",
    "Generation",
    "Task",
    "VoiceReference",
    "Waveform",
    "__version__",
    "build",
    "components",
    "load_config",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
