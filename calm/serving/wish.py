"""From the fields of a request to a call of the engine: which model, whose voice, which seed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from calm.audio import Provenance
from calm.errors import ConsentError, InputError
from calm.generation import VoiceReference
from calm.safety import Consent, stamp
from calm.serving import uploads
from calm.serving.errors_http import HttpError
from calm.serving.schemas import SpeechRequest, VoiceId
from calm.serving.service import Service
from calm.serving.voices import DESCRIBED, RecordedVoice, described, unknown
from calm.text import tidy
from calm.types import Task

__all__ = ["Wish", "read_wish"]

#: fields that go to the engine as they are
PLAIN = ("duration", "negative_prompt", "steps", "cfg_scale")
#: fields that say something about a recorded voice
OF_A_CLIP = ("ref_text", "consent", "purpose")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A request that may be fulfilled; ``options`` are those of ``Engine.submit``."""

    text: str
    task: Task
    seed: int
    options: dict[str, Any]
    provenance: Provenance


def read_wish(body: SpeechRequest, service: Service) -> Wish:
    """Check a request. Reads voices from the disk and decodes clips: not for the server's loop.

    Raises InputError, ConsentError, or HttpError for a model that is not served.
    """
    _check_model(body, service)
    if body.speed != 1.0:
        raise InputError("This model has no speed", where="speed", allowed="1.0", hint="say 'quickly' in instructions")
    tidy(body.input, where="text")  # planning would say the same, but not of which field
    task, seed = Task.parse(body.task), secrets.randbelow(2**31) if body.seed is None else body.seed
    options = {name: value for name in PLAIN if (value := getattr(body, name)) is not None}
    options |= _speaker(body, service) if task is Task.SPEECH else _no_speaker(body, task)
    reference = options.get("reference")
    identity = service.identity
    provenance = stamp(
        model=service.model_name,
        task=task,
        seed=seed,
        prompt=body.input,
        model_sha256=identity and identity.model_sha256,
        config_sha256=identity and identity.config_sha256,
        consent=reference and reference.consent,
    )
    return Wish(text=body.input, task=task, seed=seed, options={**options, "seed": seed}, provenance=provenance)


def _check_model(body: SpeechRequest, service: Service) -> None:
    names = (None, service.model_name, *service.settings.model_names)
    if body.model not in names:
        message = f"This server has no model '{body.model}'. It serves '{service.model_name}'"
        raise HttpError(404, message, param="model", code="model_not_found")


def _no_speaker(body: SpeechRequest, task: Task) -> dict[str, Any]:
    """Clients that cannot leave ``voice`` out may name any described one; other wishes would be passed over in silence."""
    for name in ("ref_audio", *OF_A_CLIP, "instructions"):
        if getattr(body, name) is not None:
            raise InputError(f"'{name}' is about a voice, and {task} has none", where=name, hint="leave it out")
    if body.voice is not None and _name(body.voice).casefold() not in DESCRIBED:
        raise InputError(f"A voice was given for {task}", where="voice", hint="leave it out")
    return {}


def _speaker(body: SpeechRequest, service: Service) -> dict[str, Any]:
    if body.ref_audio is not None:
        return {"reference": _given_voice(body, body.ref_audio, service)}
    if body.consent is not None:
        raise InputError("'consent' belongs to a clip", where="consent", hint="add ref_audio")
    name = None if body.voice is None else _name(body.voice)
    recorded = None if name is None or name.casefold() in DESCRIBED else service.voices.find(name)
    if recorded is not None:
        return {"reference": _registered_voice(body, recorded, service)}
    for field in OF_A_CLIP:
        if getattr(body, field) is not None:
            raise InputError(f"'{field}' belongs to a recorded voice", where=field, hint="leave it out")
    words = None if name is None else described(name)
    if name is not None and words is None:
        raise unknown(name, service.voices)
    return _described_voice(words, body.instructions, raw=service.engine.model.text_style == "raw")


def _described_voice(words: str | None, instructions: str | None, *, raw: bool) -> dict[str, Any]:
    if raw and words in DESCRIBED.values():
        words = None  # a model without descriptions has one way to speak, whatever name a client must send
    voice = ", ".join(part.strip() for part in (words, instructions) if part and part.strip())
    return {"voice": voice} if voice else {}


def _given_voice(body: SpeechRequest, clip: str, service: Service) -> VoiceReference:
    if body.voice is not None and _name(body.voice).casefold() not in DESCRIBED:
        raise InputError("A voice comes from 'voice' or from 'ref_audio'", where="voice", hint="drop one of the two")
    _check_instructions(body)
    if body.consent is None:
        raise ConsentError(
            "A reference voice needs the speaker's consent", hint="send the record that `calm consent new` writes as 'consent'"
        )
    consent = Consent.parse(body.consent, where="consent")
    data = uploads.decode_base64(clip, param="ref_audio")
    waveform = uploads.read_clip(data, max_seconds=service.settings.max_reference_seconds, param="ref_audio")
    return VoiceReference(waveform=waveform, consent=consent, text=body.ref_text, purpose=body.purpose)


def _registered_voice(body: SpeechRequest, voice: RecordedVoice, service: Service) -> VoiceReference:
    _check_instructions(body)
    return voice.reference(max_seconds=service.settings.max_reference_seconds, text=body.ref_text, purpose=body.purpose)


def _check_instructions(body: SpeechRequest) -> None:
    if body.instructions is not None:
        raise InputError("A recorded voice takes no instructions", where="instructions", hint="leave them out")


def _name(voice: str | VoiceId) -> str:
    return voice if isinstance(voice, str) else voice.id
