"""CLAP of LAION (Wu et al., 2023, arXiv 2211.06687) by transformers: audio and text in one space.

Repositories: ``laion/clap-htsat-unfused``, ``laion/larger_clap_general``, ``laion/larger_clap_music``,
``laion/larger_clap_music_and_speech``. They name different models; a figure means something beside others of the same.

The checkpoints of the package laion_clap (``630k-audioset-best.pt``, ``music_audioset_epoch_15_esc_90.14.pt``) hold
the same networks under other names: ``text_branch`` is ``text_model``, ``audio_branch`` is
``audio_model.audio_encoder``, each ``qkv`` is cut into query, key and value, and so on. They are not read here;
transformers' script ``convert_clap_original_pytorch_to_hf.py`` writes a folder that is. Other differences from that
package: no rounding of samples to 16 bits, and no random excerpt of long clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm._torchaudio import install
from calm.errors import CheckpointError, ConfigError, InputError
from calm.scorers.embedder import Embedder, mono, origin
from calm.scorers.hub import find_weights
from calm.scorers.optional import need
from calm.types import Waveform

__all__ = ["Clap"]

REPO = "laion/clap-htsat-unfused"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = ("config.json", "|".join(WEIGHTS), "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
#: tokens of a caption, as in training
MAX_TOKENS = 77


class Clap(Embedder):
    """Unit vectors of windows of 10 s, D = 512, and of captions.

    A longer clip is cut into windows one after the other; the last one ends where the clip ends, so that it overlaps
    the one before it. A shorter clip is repeated as often as it fits, then padded with silence, as in training.
    """

    name = "clap"

    def __init__(
        self,
        *,
        repo: str | None = None,
        revision: str | None = None,
        folder: str | Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """``repo``: None for ``laion/clap-htsat-unfused``. Raises ConfigError where the model cannot be found or used."""
        install()
        transformers = need("transformers")
        repo = repo or REPO
        found = find_weights(repo, files=FILES, folder=folder, revision=revision)
        try:
            self._extractor = transformers.ClapFeatureExtractor.from_pretrained(found)
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(found)
            self._model, report = transformers.ClapModel.from_pretrained(found, output_loading_info=True)
        except Exception as error:  # damaged files raise errors of every kind
            raise CheckpointError(f"This is no CLAP model ({error})", where=repo, hint="copy its files again") from error
        if report["missing_keys"] or report["mismatched_keys"]:
            missing = sorted(report["missing_keys"])[:3]
            raise CheckpointError(f"The CLAP model lacks weights: {missing}", where=repo, hint="copy its files again")
        if self._model.config.audio_config.enable_fusion:
            raise ConfigError(
                "This CLAP hears long clips by random excerpts (feature fusion)", where=repo, allowed="models without fusion"
            )
        self._model.eval().to(device)
        self.sample_rate = self._extractor.sampling_rate
        self.width = self._model.config.projection_dim
        self._window = int(self._extractor.nb_max_samples)
        weights = next(found / name for name in WEIGHTS if (found / name).is_file())
        self._device, self._origin = device, origin(weights, repo=None if folder else repo)

    @torch.no_grad()
    def embed(self, clip: Waveform) -> np.ndarray:
        audio = mono(clip, sample_rate=self.sample_rate).numpy()
        starts = [*range(0, max(1, len(audio) - self._window), self._window)]
        if len(audio) > self._window:
            starts.append(len(audio) - self._window)
        # No window is longer than the model hears, so that nothing is cut at random.
        inputs = self._extractor(
            [audio[start : start + self._window] for start in starts],
            sampling_rate=self.sample_rate,
            truncation="rand_trunc",
            return_tensors="pt",
        )
        features = inputs["input_features"].float().to(self._device)
        return self._model.get_audio_features(features).pooler_output.cpu().double().numpy()

    @torch.no_grad()
    def embed_text(self, text: str) -> np.ndarray:
        """The unit vector of a caption, float64 [D]. Raises InputError where it is empty."""
        if not text.strip():
            raise InputError("The caption is empty", where="Clap.embed_text")
        tokens = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(self._device)
        found = self._model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return found.pooler_output[0].cpu().double().numpy()

    def settings(self) -> dict[str, Any]:
        seconds = self._window / self.sample_rate
        return {
            "window_seconds": seconds,
            "hop_seconds": seconds,
            "short_clips": self._extractor.padding,
            "transformers": need("transformers").__version__,
            **self._origin,
        }
