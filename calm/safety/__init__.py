"""Consent before a voice is copied, and a record of origin in every generated file."""

from __future__ import annotations

from calm.safety.consent import Consent, audio_sha256
from calm.safety.detection import Finding, Report, detect
from calm.safety.provenance import stamp
from calm.safety.publishing import Published, SignedAudio, check_settings, publish, publish_bytes
from calm.safety.settings import ProvenanceSettings, parse_parts
from calm.safety.streaming import StreamedAudio, open_mark

__all__ = [
    "Consent",
    "Finding",
    "ProvenanceSettings",
    "Published",
    "Report",
    "SignedAudio",
    "StreamedAudio",
    "audio_sha256",
    "check_settings",
    "detect",
    "open_mark",
    "parse_parts",
    "publish",
    "publish_bytes",
    "stamp",
]
