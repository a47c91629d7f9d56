"""pocket-tts (Kyutai) with the weights of its linear layers in 8 bits by torch.ao, from the configurations of its package."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import yaml

from benchmarks.ratios.readings import MissingPeer, peer_module

__all__ = ["INSTALL", "build", "clip", "text", "write_config"]

INSTALL = "pip install pocket-tts==4.0.1"
CONFIGS = {"77m": "english_2026-10", "13m": "english_18m_2026-10"}
#: a clip that never ends by itself has so many seconds, and so many more a token
SECONDS, TOKENS_PER_SECOND = 2.0, 3.0
VOICE_SECONDS = 3


def write_config(size: str, folder: Path, *, weights: Path | None = None) -> Path:
    """Write the package's configuration without its downloads: a tokenizer of numbered words, no weights or ``weights``."""
    package = Path(peer_module("pocket_tts", install=INSTALL).__file__).parent
    config = yaml.safe_load((package / "config" / f"{CONFIGS[size]}.yaml").read_text(encoding="utf-8"))
    table = config["flow_lm"]["lookup_table"]
    table["tokenizer"], table["tokenizer_path"] = "tokenizers", str(_write_tokenizer(table["n_bins"], folder))
    config.pop("weights_path_without_voice_cloning")
    config["weights_path"] = None if weights is None else str(weights)
    path = folder / f"{size}{'' if weights is None else '_saved'}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _write_tokenizer(size: int, folder: Path) -> Path:
    tokenizers = peer_module("tokenizers", install="pip install tokenizers")
    words = ["[UNK]", ".", "!", "...", "?", ",", ";", ":", *(f"W{number}" for number in range(size - 8))]
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def text(seconds: float) -> str:
    """As many tokens as make a clip of this length, the full stop included."""
    return " ".join(f"W{number}" for number in range(round(TOKENS_PER_SECOND * (seconds - SECONDS)) - 1)) + "."


@functools.lru_cache(maxsize=2)
def build(size: str):
    """Its ``TTSModel`` and the state of a voice of 3 s. Raises MissingPeer."""
    pocket = peer_module("pocket_tts", install=INSTALL)
    if peer_module("pocket_tts.quantization", install=INSTALL)._get_backend() != "torch.ao":
        # Its torchao route is slower here than its float32: it would not be the honest baseline.
        raise MissingPeer("torchao is installed, with which pocket-tts is slower: pip uninstall torchao")
    logging.getLogger("pocket_tts").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(0)
        config = write_config(size, Path(folder))
        model = pocket.TTSModel.load_model(config=config, quantize=True, eos_threshold=float("inf"))
        noise = 0.1 * torch.randn(1, VOICE_SECONDS * model.sample_rate)
        return model, model.get_state_for_audio_prompt(noise)


def clip(size: str, *, seconds: float) -> Callable[[], Iterator[float]]:
    """A call that streams a clip piece by piece, each given by its length in seconds."""
    model, voice = build(size)
    return lambda: (piece.shape[-1] / model.sample_rate for piece in model.generate_audio_stream(voice, text(seconds)))
