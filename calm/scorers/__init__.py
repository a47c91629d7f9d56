"""What listens to finished audio: recognisers, speaker encoders, embeddings. Models that nobody here trained.

A scorer turns a clip into words, a vector or a number and knows nothing of the figures that are made of it
(`calm.metrics`). Packages beyond the plain installation come with ``pip install "audiocalm[eval]"``.
"""

from __future__ import annotations

from calm.scorers.optional import find_file, need
from calm.scorers.recogniser import DITHER_SEEDS, Recogniser, RecogniserConfig, Transcript
from calm.scorers.speaker import SpeakerEncoder, nearest_to_own

__all__ = [
    "DITHER_SEEDS",
    "Recogniser",
    "RecogniserConfig",
    "SpeakerEncoder",
    "Transcript",
    "find_file",
    "nearest_to_own",
    "need",
]
