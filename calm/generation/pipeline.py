"""`AudioCALM`: the model as its users hold it. Text in, audio out, whole or streamed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from calm.config import RunConfig
from calm.errors import CheckpointError, ConfigError, InputError
from calm.generation.clips import Clips
from calm.generation.config import SamplerConfig
from calm.generation.growth import grow
from calm.generation.plan import Call, Plan, make_plan
from calm.generation.request import Generation
from calm.model.build import build_model, load_pretrained
from calm.model.compiled import compile_passes
from calm.model.device import open_device
from calm.model.generator import Generator
from calm.model.precision import choose_precision, set_precision
from calm.types import Task, Waveform

__all__ = ["AudioCALM"]

#: blocks that whole clips are decoded by: as cheap as all at once, soon enough to notice silence
GATHERED_BLOCKS = 8


class AudioCALM:
    """A trained generator with its VAE and tokenizer.

        model = AudioCALM.from_pretrained("mini")
        clip = model.generate("A bell rings twice.", task="sound", duration=3.5)[0]

    Args:
        model: a built root (`ar_flow` or `head_flow`) with weights.
        sampler: defaults of generation.
        text_style: the form of the descriptions that the model was trained with (``data.text_style``).
        trained_seconds: the longest clips that it was trained on (``data.max_seconds``); longer ones slide.
        name: what provenance records and messages call the model.
    """

    def __init__(
        self,
        model: Generator,
        *,
        sampler: SamplerConfig | None = None,
        text_style: str = "description",
        trained_seconds: float | None = None,
        name: str = "unnamed",
    ) -> None:
        if not isinstance(model, Generator):
            raise CheckpointError(
                f"{type(model).__name__} does not generate from text",
                allowed="ar_flow, head_flow",
                hint="a VAE stage only encodes and decodes; train a generator on it",
            )
        self.model, self.sampler = model.eval(), sampler or SamplerConfig()
        self.text_style, self.trained_seconds, self.name = text_style, trained_seconds, name

    @classmethod
    def from_config(cls, config: RunConfig) -> AudioCALM:
        """Build from a configuration: random weights, or those that the configuration names."""
        return cls.of(build_model(config), config)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, device: str = "auto", precision: str = "fp32", compiled: bool = False
    ) -> AudioCALM:
        """Load a model that comes with the project, or a folder with ``model.safetensors`` and ``config.yaml``.

        Args:
            name_or_folder: a folder as ``calm train`` and ``calm export`` write it, a run's folder (its ``export``
                is taken), or the name of a shipped model, for example "mini". A folder that exists comes first.
            device: "auto", "cpu", "mps", "cuda" or "cuda:N".
            precision: "fp32" (the model as it was trained), "bf16", on a CPU also "fp16", "int8" and "int8_rows", or
                "auto", which is fp16 on a CPU that has it; see `calm.model.precision`. A model in any but "fp32" can
                only generate: not train, nor be saved or moved.
            compiled: compile what is computed in every step: the first block then takes long, the others less; see
                `calm.model.compiled`. For one request at a time.

        Raises CheckpointError where there is no such model, or where its files do not fit together, and ConfigError
        for a device or a precision that is not to be had.
        """
        where = _device(device)
        precision = choose_precision(precision, device=where, compiled=compiled)
        model, config = load_pretrained(name_or_folder)
        pipeline = cls.of(model.to(where), config)
        set_precision(pipeline.model, precision)
        if compiled:
            compile_passes(pipeline.model)
        return pipeline

    @classmethod
    def of(cls, model: Generator, config: RunConfig) -> AudioCALM:
        """A model at hand, with what its configuration says about generation."""
        data = config.data
        return cls(
            model,
            sampler=config.sampler,
            text_style=data.text_style,
            trained_seconds=data.max_seconds,
            name=config.name,
        )

    @property
    def sample_rate(self) -> int:
        return self.model.vae.sample_rate

    def generate(self, text: str | Sequence[str], *, task: str, **options) -> list[Generation]:
        """Generate one clip per prompt, all prompts in one batch.

        Args:
            text: what is said (speech), or what is heard (sound, music); one prompt or several.
            task: "speech", "sound" or "music".
            duration: seconds; the model decides where it is not given.
            voice: description of the voice, for example "a low male voice" (speech).
            reference: a ``VoiceReference`` with consent (speech).
            steps, cfg_scale, temperature, history_time, seed, negative_prompt, block_size, window_seconds,
            solver, grid, guidance, max_seconds: see ``calm.generation.plan.Call`` and ``SamplerConfig``.

        The seed of prompt i is ``seed + i``. Same seed, same audio, in any batch. Speech without a duration
        is checked as it grows, see ``SamplerConfig.self_check``.
        """
        started = time.perf_counter()
        plan = self.plan(text, task=task, **options)
        clips = Clips(self.model, plan, gather=GATHERED_BLOCKS)
        audio = [torch.cat(parts, dim=-1) for parts in zip(*grow(self.model, clips), strict=True)]
        taken = time.perf_counter() - started
        return [
            Generation(
                audio=audio[index],
                sample_rate=self.sample_rate,
                finish_reason=clips.reason(index),
                seed=request.seed,
                task=request.task,
                text=request.text,
                latents=clips.latents(index),
                seconds_taken=taken,
            )
            for index, request in enumerate(plan.requests)
        ]

    def generate_streaming(self, text: str, *, task: str, **options) -> Iterator[Waveform]:
        """Generate one clip and yield it piece by piece, as soon as each block is decoded.

        The concatenation equals ``generate`` with the same arguments to 1e-5 (float32). Arguments as
        for ``generate``, with one prompt.
        """
        if not isinstance(text, str):
            raise InputError("Streaming takes one prompt", where="text", hint="use generate() for batches")
        # Planned here, not at the first piece: a bad argument is refused by the call itself.
        return self._stream(self.plan(text, task=task, **options))

    def plan(self, text: str | Sequence[str], *, task: str, **options) -> Plan:
        """Check the arguments of ``generate`` and resolve them, without generating. Raises InputError."""
        call = Call(text=text, task=Task.parse(task), **_known(options))
        return make_plan(
            self.model, self.sampler, call, text_style=self.text_style, trained_seconds=self.trained_seconds
        )

    def _stream(self, plan: Plan) -> Iterator[Waveform]:
        for (audio,) in grow(self.model, Clips(self.model, plan, gather=1)):
            if audio.shape[-1]:
                yield Waveform(audio=audio, sample_rate=self.sample_rate)


def _known(options: dict) -> dict:
    fields = [name for name in Call.__dataclass_fields__ if name not in ("text", "task")]
    for name in options:
        if name not in fields:
            raise InputError(f"Unknown option '{name}' of generate()", allowed=fields)
    return options


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return open_device(name, error=ConfigError, allowed="auto, cpu, mps, cuda, cuda:N")
