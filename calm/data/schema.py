"""What ``KEY.json`` of a clip may hold. ``data_shards/schema.json`` is this schema, written out."""

from __future__ import annotations

import json
from typing import Any

from calm.errors import DataError
from calm.types import TASKS, Latents, Sample, Task, Waveform

__all__ = ["MAX_CHARACTERS", "MAX_JSON_BYTES", "SCHEMA", "parse_record", "text_of", "to_sample", "violations"]

MAX_JSON_BYTES = 1 << 20
#: a longer text is a mistake in the manifest, not something to read aloud
MAX_CHARACTERS = 20_000

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "KEY.json of an AudioCALM shard",
    "description": "What is known about the clip KEY.flac of the same shard.",
    "type": "object",
    "required": ["task"],
    "anyOf": [{"required": ["text"]}, {"required": ["caption"]}],
    "properties": {
        "task": {"type": "string", "enum": [str(task) for task in TASKS]},
        "text": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "description": "Transcript of speech, verbatim."},
        "caption": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CHARACTERS,
            "description": "What is heard in a sound or a piece of music.",
        },
        "duration": {"type": "number", "exclusiveMinimum": 0, "description": "Length in seconds."},
        "sample_rate": {"type": "integer", "minimum": 1, "description": "Hz, as stored in the audio file."},
        "channels": {"type": "integer", "minimum": 1, "description": "Audio channels, as stored."},
        "speaker": {"type": "string", "minLength": 1, "description": "Name of the voice; equal names share a voice."},
        "language": {"type": "string", "minLength": 2, "description": "BCP 47 tag, for example en or en-GB."},
        "wordings": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "description": "Further captions that training draws from; for speech, phrases for the voice.",
        },
        "rewritten_by": {"type": "string", "minLength": 1, "description": "Model that wrote the last of `wordings`."},
        "source": {"type": "string", "description": "Name of the file that the clip was packed from."},
        "latents": {
            "type": "object",
            "description": "How KEY.npy of a latent shard was made: posterior means of a VAE, float16 [frames, dim].",
            "required": ["vae", "sample_rate", "hop", "dim", "num_samples"],
            "properties": {
                "vae": {"type": "string", "minLength": 8, "description": "Hash of the VAE's encoder."},
                "sample_rate": {"type": "integer", "minimum": 1, "description": "Hz, of the VAE."},
                "hop": {"type": "integer", "minimum": 1, "description": "Samples per latent frame."},
                "dim": {"type": "integer", "minimum": 1, "description": "Latent channels."},
                "num_samples": {"type": "integer", "minimum": 1, "description": "Samples before padding, at the VAE's rate."},
                "frame_rate": {"type": "number", "exclusiveMinimum": 0, "description": "Latent frames per second."},
                "level_dbfs": {"type": "number", "description": "Root mean square of the clip in dB of full scale."},
            },
        },
        "attributes": {
            "type": "object",
            "description": "Further labels: gender, pitch, pace, tempo, instruments, genre, mood, ...",
        },
    },
    "additionalProperties": True,
}

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
}


def violations(value: Any, schema: dict[str, Any] = SCHEMA, *, name: str = "") -> list[str]:
    """Return one sentence per violation; understands the words of JSON Schema that ``SCHEMA`` uses."""
    label = f"`{name}`" if name else "the record"
    expected = schema.get("type")
    if expected and (not isinstance(value, _TYPES[expected]) or isinstance(value, bool)):
        return [f"{label} must be of type {expected}, not {type(value).__name__}"]
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{label} is {value!r}, allowed: {', '.join(schema['enum'])}")
    if isinstance(value, str) and len(value.strip()) < schema.get("minLength", 0):
        found.append(f"{label} is empty or too short")
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        found.append(f"{label} has {len(value):,} characters, allowed: at most {schema['maxLength']:,}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{label} is {value}, must be at least {schema['minimum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        found.append(f"{label} is {value}, must be more than {schema['exclusiveMinimum']}")
    found += [f"`{key}` is missing" for key in schema.get("required", ()) if key not in value]
    choices = schema.get("anyOf", [])
    if choices and not any(all(key in value for key in choice["required"]) for choice in choices):
        found.append("one of " + " or ".join(f"`{c['required'][0]}`" for c in choices) + " is required")
    if "items" in schema:
        found += [v for i, item in enumerate(value) for v in violations(item, schema["items"], name=f"{name}[{i}]")]
    for key, inner in schema.get("properties", {}).items():
        if key in value:
            found += violations(value[key], inner, name=f"{name}.{key}" if name else key)
    return found


def parse_record(data: bytes, *, where: object) -> dict[str, Any]:
    """Parse and validate the bytes of a ``KEY.json``; raises DataError with every violation."""
    if len(data) > MAX_JSON_BYTES:
        raise DataError(f"The JSON has {len(data):,} bytes", where=where, allowed=f"at most {MAX_JSON_BYTES:,} bytes")
    try:
        record = json.loads(data.decode("utf-8"), parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The JSON cannot be read ({error})", where=where, hint="pack the clip again") from error
    if found := violations(record):
        raise DataError("The JSON is not a clip's record: " + "; ".join(found), where=where, hint="see data_shards/schema.json")
    return record


def text_of(record: dict[str, Any]) -> str:
    """Return the transcript or caption of a valid record; a transcript wins where both are present for speech."""
    first, second = ("text", "caption") if record["task"] == Task.SPEECH else ("caption", "text")
    return record[first] if first in record else record[second]


def to_sample(record: dict[str, Any], *, content: Waveform | Latents, key: str, shard: str) -> Sample:
    """Join a valid record and what was decoded of its clip."""
    further = {name: value for name, value in record.items() if name not in SCHEMA["properties"]}
    if "language" in record:
        further["language"] = record["language"]
    return Sample(
        key=key,
        task=Task(record["task"]),
        text=text_of(record),
        waveform=content if isinstance(content, Waveform) else None,
        latents=content if isinstance(content, Latents) else None,
        speaker=record.get("speaker"),
        attributes={**further, **record.get("attributes", {})},
        wordings=tuple(record.get("wordings", ())),
        shard=shard,
    )


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
