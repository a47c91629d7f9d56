"""What ``KEY.json`` of a clip may hold. ``data_shards/schema.json`` is this schema, written out."""

from __future__ import annotations

import json
from collections.abc import Callable
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

#: words of JSON Schema about one value -> what is wrong with it, given the word's own value, or None
_RULES: dict[str, Callable[[Any, Any], str | None]] = {
    "enum": lambda value, allowed: None if value in allowed else f"is {value!r}, allowed: {', '.join(allowed)}",
    "minLength": lambda value, least: "is empty or too short" if len(value.strip()) < least else None,
    "maxLength": lambda value, most: f"has {len(value):,} characters, allowed: at most {most:,}" if len(value) > most else None,
    "minimum": lambda value, least: f"is {value}, must be at least {least}" if value < least else None,
    "exclusiveMinimum": lambda value, bound: f"is {value}, must be more than {bound}" if value <= bound else None,
}

_Check = Callable[[Any, str], list[str]]


def _compile(schema: dict[str, Any]) -> _Check:
    """A schema as one function (value, name) -> sentences: every clip that is read is asked, so it is put together once.

    Understands the words of JSON Schema that ``SCHEMA`` uses.
    """
    expected, types = schema["type"], _TYPES[schema["type"]]
    rules = [(rule, schema[word]) for word, rule in _RULES.items() if word in schema]
    required = schema.get("required", ())
    choices = [choice["required"] for choice in schema.get("anyOf", ())]
    each = _compile(schema["items"]) if "items" in schema else None
    inner = {key: _compile(value) for key, value in schema.get("properties", {}).items()}

    def check(value: Any, name: str) -> list[str]:
        label = f"`{name}`" if name else "the record"
        if not isinstance(value, types) or isinstance(value, bool):
            return [f"{label} must be of type {expected}, not {type(value).__name__}"]
        found = [f"{label} {wrong}" for rule, given in rules if (wrong := rule(value, given))]
        found += [f"`{key}` is missing" for key in required if key not in value]
        if choices and not any(all(key in value for key in keys) for keys in choices):
            found.append("one of " + " or ".join(f"`{keys[0]}`" for keys in choices) + " is required")
        if each is not None:
            found += [wrong for i, item in enumerate(value) for wrong in each(item, f"{name}[{i}]")]
        for key in value if inner else ():
            if key in inner:
                found += inner[key](value[key], f"{name}.{key}" if name else key)
        return found

    return check


_CHECK = _compile(SCHEMA)


def violations(record: Any) -> list[str]:
    """Return one sentence per violation of ``SCHEMA``."""
    return _CHECK(record, "")


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
