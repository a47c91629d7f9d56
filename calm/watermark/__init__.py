"""Inaudible marks: generated audio says in its own samples that it was generated."""

from __future__ import annotations

from calm.watermark.base import Detection

__all__ = ["Detection"]
