"""The record of origin that every written audio file carries."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

__all__ = ["Provenance"]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who made a file, and from what. It is stored as JSON in the file's own comment tag.

    Args:
        generator: program and version, for example ``AudioCALM 0.1.0``.
        model: name of the model.
        task: speech, sound or music.
        seed: seed of the generation.
        created: time of generation, ISO 8601 in UTC.
        model_sha256: SHA-256 of the weights file, where known.
        prompt_sha256: SHA-256 of the prompt's UTF-8 bytes. The prompt itself may be private.
        consent_sha256: SHA-256 of the consent record, where a reference voice was used.
        config_sha256: SHA-256 of the model's configuration file, where known.
        consent_id: the consent record's id, where it has one.
        sidecar, c2pa, watermark: what else says where the file is from, or why it does not ("turned off by flag").
            Written by ``calm.safety.publish`` alone: without it, nothing is said.
    """

    generator: str
    model: str
    task: str
    seed: int
    created: str
    model_sha256: str | None = None
    prompt_sha256: str | None = None
    consent_sha256: str | None = None
    config_sha256: str | None = None
    consent_id: str | None = None
    sidecar: str | None = None
    c2pa: str | None = None
    watermark: str | None = None

    def to_json(self) -> str:
        """Return one line of JSON; fields without a value are left out."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps({"audiocalm": 1, **values})

    @classmethod
    def from_json(cls, text: str) -> Provenance | None:
        """Return the record in ``text``, or None where the text is not such a record."""
        try:
            values = json.loads(text)
            if values.pop("audiocalm") != 1:
                return None
            known = {field.name for field in dataclasses.fields(cls)}
            # A later version may add fields: what we know of the record is still worth showing.
            return cls(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
