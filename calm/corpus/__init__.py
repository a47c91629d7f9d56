"""A mixed corpus of speech, sound and music that needs no download: everything in it is synthesised."""

from __future__ import annotations

from calm.corpus.write import CorpusSummary, Share, generate_corpus

__all__ = ["CorpusSummary", "Share", "generate_corpus"]
