"""Consent before a voice is copied, and a record of origin in every generated file."""

from __future__ import annotations

from calm.safety.consent import Consent, audio_sha256
from calm.safety.provenance import stamp

__all__ = ["Consent", "audio_sha256", "stamp"]
