"""Voices: described ones by name, recorded ones with the speaker's consent."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile

from calm.errors import CalmError
from calm.safety.consent import MAX_CHARACTERS
from calm.serving.errors_http import HttpError
from calm.serving.routes_speech import ERRORS
from calm.serving.schemas import Deleted, VoiceList, VoiceRecord
from calm.serving.service import Service, service_of
from calm.serving.voices import DESCRIBED, MAX_NAME, RecordedVoice, holds_today

__all__ = ["router"]

router = APIRouter(responses=ERRORS)


@router.get("/v1/audio/voices")
async def voices(request: Request) -> VoiceList:
    """Every voice that ``voice`` may name."""
    service = service_of(request)
    recorded = await asyncio.to_thread(lambda: [_record(voice) for voice in service.voices.list()])
    return VoiceList(data=[*_described(service), *recorded])


@router.post("/v1/audio/voices")
async def register(
    request: Request,
    name: Annotated[str, Form(max_length=MAX_NAME, description="What requests will call it.")],
    clip: Annotated[UploadFile, File(description="WAV, FLAC, Ogg or MP3.")],
    who: Annotated[str, Form(max_length=MAX_CHARACTERS["who"], description="Whose voice it is.")],
    purpose: Annotated[
        str, Form(max_length=MAX_CHARACTERS["purpose"], description="What the speaker agreed to; several with commas between.")
    ],
    expires: Annotated[date, Form(description="Last day of the consent.")],
    statement: Annotated[UploadFile | None, File(description="A recording in which the speaker says so.")] = None,
) -> VoiceRecord:
    """Register a recorded voice. The consent record is made here, and checked at every use."""
    service = service_of(request)
    data = await clip.read()
    said = None if statement is None else await statement.read()
    voice = await asyncio.to_thread(
        service.voices.add, name, data, who=who, purpose=purpose, expires=expires, statement=said
    )
    return await asyncio.to_thread(_record, voice)


@router.delete("/v1/audio/voices/{id}")
async def delete(id: str, request: Request) -> Deleted:
    """Delete a recorded voice, with its clip and its consent."""
    store = service_of(request).voices
    voice = await asyncio.to_thread(store.find, id)
    if voice is None or voice.id != id:
        raise HttpError(404, "There is no recorded voice with this id", param="id", code="voice_not_found")
    await asyncio.to_thread(store.remove, voice)
    return Deleted(id=id)


def _described(service: Service) -> list[VoiceRecord]:
    return [
        VoiceRecord(id=name, name=name, type="description", created_at=service.started, description=words)
        for name, words in DESCRIBED.items()
    ]


def _record(voice: RecordedVoice) -> VoiceRecord:
    record = VoiceRecord(id=voice.id, name=voice.name, type="audio_sample", created_at=voice.created_at)
    try:
        consent = voice.consent
    except CalmError:
        return record.model_copy(update={"usable": False})
    about = {"who": consent.who, "purpose": consent.purpose, "expires": consent.expires.isoformat()}
    return record.model_copy(update={**about, "usable": holds_today(voice)})
