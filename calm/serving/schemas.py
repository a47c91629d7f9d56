"""Bodies of requests and responses. What is not named here is refused, so that no wish is passed over in silence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from calm.serving.limits import Limits

__all__ = ["Deleted", "ErrorBody", "ModelList", "SpeechRequest", "VoiceId", "VoiceList", "VoiceRecord"]

Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class VoiceId(_Strict):
    """A registered voice, as OpenAI names custom ones."""

    id: str


class SpeechRequest(_Strict):
    """OpenAI's fields, and beneath them those of this server. None is the model's default."""

    input: str = Field(description="What is said (speech), or what is heard (sound, music).")
    model: str | None = Field(None, description="The served model's name.")
    voice: str | VoiceId | None = Field(
        None, description="A name of GET /v1/audio/voices, a registered voice's id, or a description in words."
    )
    instructions: str | None = Field(None, description="More words about the voice; not for recorded voices.")
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = Field(
        "mp3", description="pcm is 24 kHz, 16 bit, little-endian, mono."
    )
    speed: float = Field(1.0, description="1.0 only.")
    stream_format: Literal["audio", "sse", "file"] = Field(
        "audio", description="audio: bytes as they are made; sse: events; file: the whole file, with a signed manifest."
    )
    task: Literal["speech", "sound", "music"] = "speech"
    duration: Positive | None = Field(None, description="Seconds.")
    ref_audio: str | None = Field(None, description="A clip of a voice, base64 or a data URL. Needs `consent`.")
    ref_text: str | None = Field(None, description="The words of the clip.")
    consent: dict[str, Any] | None = Field(None, description="The record that `calm consent new` writes for the clip.")
    purpose: str | None = Field(None, description="What a recorded voice is used for; where it is named, it must be in the consent.")
    negative_prompt: str | None = None
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="Drawn where it is not given; see X-Seed.")
    steps: int | None = Field(None, ge=1, le=Limits.max_steps)
    cfg_scale: float | None = Field(None, ge=0, le=100)


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "audiocalm"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class VoiceRecord(BaseModel):
    """A voice: ``type`` is ``description`` for words, ``audio_sample`` for a recording with consent."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    type: Literal["description", "audio_sample"]
    created_at: int
    description: str | None = None
    who: str | None = None
    purpose: str | None = None
    expires: str | None = None
    usable: bool = True


class VoiceList(BaseModel):
    object: Literal["list"] = "list"
    data: list[VoiceRecord]


class Deleted(BaseModel):
    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: Literal[True] = True


class Error(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: Error
