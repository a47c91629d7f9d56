"""The record of origin of a generation, for `calm.audio.write`."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import calm
from calm.audio import Provenance
from calm.safety.consent import Consent
from calm.types import Task

__all__ = ["stamp"]


def stamp(
    *,
    model: str,
    task: Task,
    seed: int,
    prompt: str | None = None,
    model_sha256: str | None = None,
    config_sha256: str | None = None,
    consent: Consent | None = None,
    created: datetime | None = None,
) -> Provenance:
    """Return the record of one generation.

    Args:
        model: name of the model.
        task: speech, sound or music.
        seed: seed of the generation.
        prompt: the text that was given; only its SHA-256 is kept.
        model_sha256: SHA-256 of the weights file, where known.
        config_sha256: SHA-256 of its configuration file, where known.
        consent: the consent record of the reference voice, where one was used; only its hash and id are kept.
        created: time of generation with its time zone; now by default.
    """
    moment = datetime.now(UTC) if created is None else created.astimezone(UTC)
    return Provenance(
        generator=f"AudioCALM {calm.__version__}",
        model=model,
        task=str(task),
        seed=seed,
        created=moment.isoformat(timespec="seconds"),
        model_sha256=model_sha256,
        config_sha256=config_sha256,
        prompt_sha256=None if prompt is None else hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(),
        consent_sha256=None if consent is None else consent.sha256,
        consent_id=None if consent is None else consent.id,
    )
