"""`AudioCALM`: the model as its users hold it. Text in, audio out, whole or streamed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from calm.config import RunConfig
from calm.errors import CheckpointError, ConfigError, InputError
from calm.generation.config import SamplerConfig
from calm.generation.plan import Call, Plan, make_plan
from calm.generation.request import FinishReason, Generation
from calm.generation.sampler import sample_blocks
from calm.model.build import build_model
from calm.model.checkpoint import load_config_of, load_into
from calm.model.generator import Generator
from calm.types import Task, Waveform

__all__ = ["AudioCALM"]


class AudioCALM:
    """A trained generator with its VAE and tokenizer.

        model = AudioCALM.from_pretrained("runs/demo/export")
        clip = model.generate("A bell rings twice.", task="sound", duration=4)[0]

    Args:
        model: a built root (`ar_flow` or `head_flow`) with weights.
        sampler: defaults of generation.
        text_style: the form of the descriptions that the model was trained with (``data.text_style``).
        name: what provenance records and messages call the model.
    """

    def __init__(
        self,
        model: Generator,
        *,
        sampler: SamplerConfig | None = None,
        text_style: str = "description",
        name: str = "unnamed",
    ) -> None:
        if not isinstance(model, Generator):
            raise CheckpointError(
                f"{type(model).__name__} does not generate from text",
                allowed="ar_flow, head_flow",
                hint="a VAE stage only encodes and decodes; train a generator on it",
            )
        self.model, self.sampler = model.eval(), sampler or SamplerConfig()
        self.text_style, self.name = text_style, name

    @classmethod
    def from_config(cls, config: RunConfig) -> AudioCALM:
        """Build from a configuration: random weights, or those that the configuration names."""
        return cls._of(build_model(config), config)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto") -> AudioCALM:
        """Load a folder with ``model.safetensors`` and ``config.yaml``, as ``calm train`` exports it.

        Args:
            folder: the folder, or a run directory that has an ``export`` folder.
            device: "auto", "cpu", "mps", "cuda" or "cuda:N".
        """
        folder = Path(folder).expanduser()
        folder = folder / "export" if (folder / "export").is_dir() else folder
        config = load_config_of(folder)
        model = build_model(config)
        load_into(model, folder)
        return cls._of(model.to(_device(device)), config)

    @classmethod
    def _of(cls, model: Generator, config: RunConfig) -> AudioCALM:
        return cls(model, sampler=config.sampler, text_style=config.data.text_style, name=config.name)

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
            steps, cfg_scale, temperature, seed, negative_prompt, block_size, window_seconds, solver,
            grid, guidance, max_seconds: see ``calm.generation.plan.Call`` and ``SamplerConfig``.

        The seed of prompt i is ``seed + i``. Same seed, same audio, in any batch.
        """
        started = time.perf_counter()
        plan = self._plan(text, task, options)
        pieces, ends = [], _Ends(plan)
        for block in self._blocks(plan):
            pieces.append(block.latents)
            if ends.update(block.stop):
                break
        latents = torch.cat(pieces, dim=1)
        audio = [self._decode(plan, ends, latents, index) for index in range(len(plan.requests))]
        taken = time.perf_counter() - started
        return [self._finish(plan, ends, audio[index], latents, index, taken) for index in range(len(audio))]

    def generate_streaming(self, text: str, *, task: str, **options) -> Iterator[Waveform]:
        """Generate one clip and yield it piece by piece, as soon as each block is decoded.

        The concatenation equals ``generate`` with the same arguments to 1e-5 (float32). Arguments as
        for ``generate``, with one prompt.
        """
        if not isinstance(text, str):
            raise InputError("Streaming takes one prompt", where="text", hint="use generate() for batches")
        # Planned here, not at the first piece: a bad argument is refused by the call itself.
        return self._stream(self._plan(text, task, options))

    def _stream(self, plan: Plan) -> Iterator[Waveform]:
        vae, ends = self.model.vae, _Ends(plan)
        decoder = vae.stream()
        skip, sent, total = _history_samples(plan, self.model), 0, None
        history, blocks = plan.history, self._blocks(plan)
        while total is None:
            block = next(blocks)
            latents, history = _with_history(history, block.latents), None
            audio = decoder.push(vae.denormalize(latents.to(self.model.null_text.dtype)))
            if ends.update(block.stop):
                total = self._num_samples(plan, ends, 0)
                audio = torch.cat([audio, decoder.finish()], dim=-1)
            audio, skip = audio[..., skip:], max(0, skip - audio.shape[-1])
            audio = audio if total is None else audio[..., : total - sent]
            sent += audio.shape[-1]
            if audio.shape[-1]:
                yield Waveform(audio=audio[0].float().clamp(-1, 1).cpu(), sample_rate=vae.sample_rate)

    def _plan(self, text: str | Sequence[str], task: str, options: dict) -> Plan:
        call = Call(text=text, task=Task.parse(task), **_known(options))
        return make_plan(self.model, self.sampler, call, text_style=self.text_style)

    def _blocks(self, plan: Plan):
        return sample_blocks(
            self.model, plan.prompt, settings=plan.settings, negative=plan.negative, history=plan.history
        )

    def _num_samples(self, plan: Plan, ends: _Ends, index: int) -> int:
        request = plan.requests[index]
        if request.duration_seconds is not None:
            return round(request.duration_seconds * self.sample_rate)
        return ends.frames[index] * self.model.vae.hop

    def _decode(self, plan: Plan, ends: _Ends, latents: Tensor, index: int) -> Tensor:
        """Audio [A, S] of one request from its own blocks alone: what its neighbours do is not heard."""
        size = plan.settings.block_size
        own = latents[index : index + 1, : -(-ends.frames[index] // size) * size]
        history = None if plan.history is None else plan.history[:1]
        audio = self.model.vae.to_audio(_with_history(history, own).to(self.model.null_text.dtype))[0]
        first = _history_samples(plan, self.model)
        return audio[:, first : first + self._num_samples(plan, ends, index)].float().clamp(-1, 1).cpu()

    def _finish(self, plan: Plan, ends: _Ends, audio: Tensor, latents: Tensor, index: int, taken: float) -> Generation:
        request = plan.requests[index]
        return Generation(
            audio=audio,
            sample_rate=self.sample_rate,
            finish_reason=ends.reasons[index],
            seed=request.seed,
            task=request.task,
            text=request.text,
            latents=latents[index, : ends.frames[index]].float().cpu(),
            seconds_taken=taken,
        )


class _Ends:
    """Where each request of a batch ends, and why."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.frames: list[int] = [0] * len(plan.requests)
        self.reasons: list[FinishReason | None] = [None] * len(plan.requests)
        self._seen = 0

    def update(self, stop: Tensor) -> bool:
        """Take the stop probabilities [B, K] of a block; return whether every request has ended."""
        above = (stop > self.plan.stop_threshold).tolist()
        size = stop.shape[1]
        for index, request in enumerate(self.plan.requests):
            if self.reasons[index] is not None:
                continue
            limit = request.num_frames if request.num_frames is not None else request.max_frames
            stopped = request.num_frames is None and any(above[index])
            end = self._seen + (above[index].index(True) + 1 if stopped else size)
            if end >= limit:
                self.frames[index] = limit
                self.reasons[index] = "max_length" if request.num_frames is None else "duration"
            elif stopped:
                self.frames[index], self.reasons[index] = end, "stop"
        self._seen += size
        return all(self.reasons)


def _with_history(history: Tensor | None, latents: Tensor) -> Tensor:
    """The decoder hears the continued clip as well, so that the seam is smooth."""
    return latents if history is None else torch.cat([history.to(latents), latents], dim=1)


def _history_samples(plan: Plan, model: Generator) -> int:
    return 0 if plan.history is None else plan.history.shape[1] * model.vae.hop


def _known(options: dict) -> dict:
    fields = [name for name in Call.__dataclass_fields__ if name not in ("text", "task")]
    for name in options:
        if name not in fields:
            raise InputError(f"Unknown option '{name}' of generate()", allowed=fields)
    return options


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"Device '{name}' cannot be used ({reason})", allowed="auto, cpu, mps, cuda, cuda:N") from None
