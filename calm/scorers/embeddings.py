"""The embedders by their names."""

from __future__ import annotations

import torch

from calm.errors import ConfigError
from calm.scorers.clap import Clap
from calm.scorers.embedder import Embedder, EmbeddingConfig
from calm.scorers.mel import MelStatistics
from calm.scorers.motion import MelMotion
from calm.scorers.panns import Panns
from calm.scorers.vggish import VGGish

__all__ = ["load_embedder"]

#: without weights
PLAIN = {"mel": MelStatistics, "motion": MelMotion}
LEARNT = {"vggish": VGGish, "panns": Panns, "clap": Clap}


def load_embedder(config: EmbeddingConfig, *, device: torch.device | str = "cpu") -> Embedder:
    """Load the embedder that a config names. Raises ConfigError where its weights are not found."""
    if config.embedding in PLAIN:
        return PLAIN[config.embedding]()
    if config.embedding not in LEARNT:
        raise ConfigError(f"Unknown embedding '{config.embedding}'", where="embedding", allowed=[*PLAIN, *LEARNT])
    return LEARNT[config.embedding](repo=config.repo, revision=config.revision, folder=config.folder, device=device)
