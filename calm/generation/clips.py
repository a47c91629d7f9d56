"""The clips of one plan while they grow: latents in, audio out, each with an end of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calm.generation.course import Block
from calm.generation.ends import Ends
from calm.generation.plan import Plan
from calm.generation.request import FinishReason
from calm.generation.silence import SilenceTail
from calm.model.generator import Generator
from calm.vae import VAE

__all__ = ["Clips", "decode_together", "update_together"]


class Clips:
    """Every request has its own decoder and its own ends: what its neighbours do is not heard.

    Args:
        gather: blocks that are decoded together. More is cheaper, one is soonest; the audio is the same.
    """

    def __init__(self, model: Generator, plan: Plan, *, gather: int) -> None:
        self.plan, self.vae = plan, model.vae
        self.ends = Ends(plan, frame_rate=model.vae.frame_rate)
        history = None if plan.history is None else plan.history[:1]
        self._tracks = [
            _Track(model.vae, history=history, tail=_tail(plan, model.vae), gather=gather, dtype=model.null_text.dtype)
            for _ in plan.requests
        ]
        self._latents: list[Tensor] = []
        self._growing: list[int] = []

    @property
    def done(self) -> bool:
        return self.ends.done

    def take(self, block: Block) -> list[_Track]:
        """Take a block; return the tracks that grow by it, for ``decode_together`` before ``pieces``."""
        self._latents.append(block.latents)
        self._growing = self.ends.open
        self.ends.update(block)
        for index in self._growing:
            ended = self.ends.reasons[index] is not None
            self._tracks[index].push(block.latents[index : index + 1], num_samples=self._num_samples(index) if ended else None)
        return [self._tracks[index] for index in self._growing]

    def pieces(self) -> list[Tensor]:
        """What every request gets of the last block, [A, S]: samples that belong to it for good (S may be 0)."""
        pieces = [track.nothing for track in self._tracks]
        for index in self._growing:
            track = self._tracks[index]
            if track.silenced:
                self.ends.close(index, "silence")
            pieces[index] = track.take()
        return pieces

    def reason(self, index: int) -> FinishReason:
        """Why a request that has ended did."""
        reason = self.ends.reasons[index]
        assert reason is not None
        return reason

    def latents(self, index: int) -> Tensor:
        """Latents [F, C] that the audio of an ended request was decoded from."""
        heard = -(-self._tracks[index].sent // self.vae.hop)
        frames = self.ends.frames[index]
        return torch.cat(self._latents, dim=1)[index, : min(frames, heard)].float().cpu()

    def _num_samples(self, index: int) -> int:
        request = self.plan.requests[index]
        if request.duration_seconds is not None:
            return round(request.duration_seconds * self.vae.sample_rate)
        return self.ends.frames[index] * self.vae.hop


class _Track:
    """The audio of one clip: decoded as its latents come, silence at its end held back."""

    def __init__(
        self, vae: VAE, *, history: Tensor | None, tail: SilenceTail | None, gather: int, dtype: torch.dtype
    ) -> None:
        self._tail, self._gather, self._dtype = tail, gather, dtype
        self.decoder = vae.stream()
        # The decoder hears a continued clip as well, so that the seam is smooth.
        self._waiting = [] if history is None else [history]
        self._skip = 0 if history is None else history.shape[1] * vae.hop
        self._held = self.nothing = torch.zeros(vae.channels, 0)
        self._blocks, self._heard, self.sent = 0, 0, 0
        self._num_samples: int | None = None

    @property
    def silenced(self) -> bool:
        return self._tail is not None and self._tail.ended

    def push(self, latents: Tensor, *, num_samples: int | None) -> None:
        """Take a block [1, K, C]; the last one comes with the length of the clip."""
        self._waiting.append(latents)
        self._blocks += 1
        self._num_samples = num_samples

    @property
    def due(self) -> bool:
        """Whether what waits is to be decoded now."""
        return self._num_samples is not None or self._blocks % self._gather == 0

    def waiting(self) -> Tensor:
        """Take what waits to be decoded: normalised latents [1, F, C]."""
        latents = torch.cat([latents.to(self._dtype) for latents in self._waiting], dim=1)
        self._waiting = []
        return latents

    def raw(self, latents: Tensor) -> Tensor:
        """What the decoder gets of raw latents [1, F, C] that waited: the last ones with all that follows them."""
        return latents if self._num_samples is None else self.decoder.last(latents)

    def hear(self, audio: Tensor) -> None:
        """Take the audio [1, A, S] that was decoded."""
        if self._num_samples is None:
            self._hear(self._plain(audio))
            return
        audio = torch.cat([self._plain(audio), self._plain(self.decoder.finish())], dim=-1)
        self._hear(audio[:, : self._skip + self._num_samples - self._heard])
        self._held = self._held if self._tail is None else self._held[:, : self._tail.finish() - self.sent]

    def take(self) -> Tensor:
        """Return what may go out, once: all but silence that may be the end."""
        ready = self._held.shape[-1] if self._tail is None else self._tail.ready - self.sent
        piece, self._held = self._held[:, :ready], self._held[:, ready:]
        self.sent += piece.shape[-1]
        return piece

    def _plain(self, audio: Tensor) -> Tensor:
        return audio[0].float().clamp(-1, 1).cpu()

    def _hear(self, audio: Tensor) -> None:
        audio, self._skip = audio[:, self._skip :], max(0, self._skip - audio.shape[-1])
        self._heard += audio.shape[-1]
        self._held = torch.cat([self._held, audio], dim=-1)
        if self._tail is not None:
            self._tail.push(audio)


@torch.no_grad()
def update_together(several: Sequence[Clips], blocks: Sequence[Block]) -> list[list[Tensor]]:
    """Give each a block and return its ``pieces``; all that is due is decoded together. They must have one model."""
    growing = [track for clips, block in zip(several, blocks, strict=True) for track in clips.take(block)]
    if growing:
        decode_together(several[0].vae, growing)
    return [clips.pieces() for clips in several]


@torch.no_grad()
def decode_together(vae: VAE, growing: Sequence[_Track]) -> None:
    """Decode what is due of the tracks that ``Clips.take`` returned."""
    due = [track for track in growing if track.due]
    if due:
        latents = [track.waiting() for track in due]
        with torch.autocast(latents[0].device.type, enabled=False):
            raw = [track.raw(vae.denormalize(piece)) for track, piece in zip(due, latents, strict=True)]
            audio = vae.push_streams([track.decoder for track in due], raw)
            for track, piece in zip(due, audio, strict=True):
                track.hear(piece)


def _tail(plan: Plan, vae: VAE) -> SilenceTail | None:
    if plan.self_check is None:
        return None
    sampler = plan.self_check
    return SilenceTail(
        vae.sample_rate,
        threshold_db=sampler.silence_db,
        margin_seconds=sampler.tail_seconds,
        limit_seconds=sampler.silence_seconds,
    )
