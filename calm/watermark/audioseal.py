"""AudioSeal (San Roman et al., 2024, arXiv 2401.17264): networks of Meta that mark audio and find it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import nn

from calm.audio import fit, resample
from calm.errors import CheckpointError, ConfigError
from calm.registry import register
from calm.scorers.hub import load_state
from calm.scorers.weights import Weights
from calm.types import Waveform
from calm.watermark.base import Detection

__all__ = ["AudioSeal"]

SAMPLE_RATE = 16_000
FILES = ("generator_base.safetensors|generator_base.pth", "detector_base.safetensors|detector_base.pth")
GENERATOR, DETECTOR = "audioseal_wm_16bits", "audioseal_detector_16bits"
NUM_BITS = 16
#: shortest input, in samples: the networks' padding needs more than a few frames
MIN_SAMPLES = 1600


@register("watermark", "audioseal")
class AudioSeal:
    """AudioSeal's networks at 16 kHz; ``folder`` holds generator_base.pth and detector_base.pth.

    What is added is computed at 16 kHz from the mean of all channels and brought to the clip's rate, so that audio of
    higher rates keeps its upper octaves. Nothing is downloaded. Raises ConfigError where the package or the weights are missing, CheckpointError
    where a file is damaged; weights are read as tensors only.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["audioseal"] = "audioseal"
        repo: str = "facebook/audioseal"
        #: a folder with the two files, instead of the hub's cache
        folder: str | None = None
        revision: str | None = None
        #: 16 bits that the mark carries
        message: int = 0
        #: share of frames that must look marked
        threshold: float = 0.5

        def __post_init__(self) -> None:
            if not 0 <= self.message < 2**NUM_BITS:
                raise ConfigError(f"The message {self.message} has no 16 bits", where="message", allowed="0 to 65535")

    def __init__(self, config: Config | None = None) -> None:
        self.config = config = config or self.Config()
        folder = config.folder or _cached(config.repo, config.revision)
        weights = Weights(config.repo, files=FILES, folder=folder)
        self._paths = weights.path(FILES[0]), weights.path(FILES[1])
        self._package = _package("loader")
        # The package compiles two of its layers at their first call, which takes minutes and a C++ compiler.
        self._uncompiled = _package("libs.moshi.utils.compile").no_compile

    @cached_property
    def _generator(self) -> nn.Module:
        package = self._package
        return _load(package.create_generator, package.AudioSealWMConfig, GENERATOR, self._paths[0], package)

    @cached_property
    def _detector(self) -> nn.Module:
        package = self._package
        return _load(package.create_detector, package.AudioSealDetectorConfig, DETECTOR, self._paths[1], package)

    @torch.no_grad()
    def embed(self, waveform: Waveform) -> Waveform:
        """The same audio, marked; silence stays silence."""
        audio = waveform.audio
        if not bool(audio.any()):
            return waveform
        mono = _mono(waveform)
        bits = torch.tensor([[self.config.message >> bit & 1 for bit in range(NUM_BITS)]])
        with self._uncompiled():
            added = self._generator.get_watermark(mono, message=bits)[0, :, : mono.shape[-1]]
        added = resample(Waveform(audio=added, sample_rate=SAMPLE_RATE), waveform.sample_rate).audio
        return Waveform(audio=audio + fit(added, audio.shape[-1]).to(audio), sample_rate=waveform.sample_rate)

    @torch.no_grad()
    def detect(self, waveform: Waveform) -> Detection:
        """The share of frames that look marked."""
        with self._uncompiled():
            marked, _ = self._detector.detect_watermark(_mono(waveform))
        return Detection(score=float(marked), threshold=self.config.threshold)


def _mono(waveform: Waveform) -> torch.Tensor:
    """[1, 1, S] at 16 kHz, with silence after clips that are too short for the networks."""
    mono = resample(waveform, SAMPLE_RATE).audio.detach().cpu().float().mean(dim=0, keepdim=True)
    return rearrange(fit(mono, max(MIN_SAMPLES, mono.shape[-1])), "a s -> 1 a s")


def _cached(repo: str, revision: str | None) -> str:
    """The folder of the repository in the hub's cache: who looks at a file, or signs one, does not fetch anything."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(repo, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ConfigError(
            "The weights of AudioSeal are not here",
            where="watermark audioseal",
            allowed="a folder with generator_base.pth and detector_base.pth (option `folder`), or the hub's cache",
            hint=f"hf download {repo} generator_base.pth detector_base.pth",
        ) from error


def _package(module: str) -> Any:
    try:
        return importlib.import_module(f"audioseal.{module}")
    except ImportError as error:
        raise ConfigError(
            "AudioSeal is not installed", where="watermark audioseal", hint="pip install 'audiocalm[safety]'"
        ) from error


def _load(create: Any, schema: Any, card: str, path: Path, package: Any) -> nn.Module:
    """A network of the package with weights of a file; the package's own reader would run code that a file brings."""
    values = dict(package.load_local_model_config(card))
    values.pop("checkpoint")
    network = create(package.AudioSeal.parse_config(values, config_type=schema))
    state = package.convert_state_dict_for_scriptable_model(load_state(path))
    try:
        package.load_state_dict(network, state)
    except Exception as error:  # missing names, wrong shapes, failed assertions
        raise CheckpointError(f"These are not the weights of {card} ({error})", where=path) from error
    return network.eval()
