"""Experts of A-MoME: residual FFNs at the positions of one modality."""

from calm.expert.base import Expert

__all__ = ["Expert"]
