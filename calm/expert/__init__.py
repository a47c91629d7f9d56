"""Experts: residual FFNs at the audio rows of single tasks. A-MoME has one, for speech."""

from __future__ import annotations

from calm.expert.base import Expert

__all__ = ["Expert"]
