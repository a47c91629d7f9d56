"""The end of the fused decoder: envelope, harmonics, and the spectra that become audio."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from calm.vae.cepstrum import Envelope
from calm.vae.istft import MAX_LOG_MAGNITUDE, MIN_BREATH, ISTFTHead
from calm.vae.pitch import CENTRE_HERTZ, MAX_HERTZ, MIN_HERTZ, PITCH_SCALE, HarmonicSource

__all__ = ["FusedEnvelope", "FusedHead", "FusedSource", "Shapes"]

#: of the tensors that a stream carries, without their batch
Shapes = list[tuple[int, ...]]


class FusedEnvelope(Envelope):
    """`Envelope` without einops."""

    def __init__(self, envelope: Envelope) -> None:
        nn.Module.__init__(self)
        self.channels, self.patch, self.project = envelope.channels, envelope.patch, envelope.project
        self.register_buffer("spread", envelope.spread)

    def forward(self, rows: Tensor) -> Tensor:
        mel = self.project(rows).view(rows.shape[0], rows.shape[1], self.channels, self.patch, -1)
        return mel.permute(0, 2, 1, 3, 4).flatten(2, 3) @ self.spread


class FusedSource(nn.Module):
    """`HarmonicSource`, whose comments say why things are as they are."""

    def __init__(self, source: HarmonicSource, shapes: Shapes) -> None:
        super().__init__()
        self.points, self.hop, self.sample_rate = source.points, source.hop, source.sample_rate
        self.low, self.high = (PITCH_SCALE * math.log(hertz / CENTRE_HERTZ) for hertz in (MIN_HERTZ, MAX_HERTZ))
        self.scale, self.centre = PITCH_SCALE, CENTRE_HERTZ
        self.width = source.sample_rate / source.n_fft
        #: last pitch, voicing and frequency, none at first; phase, in turns
        self.place = len(shapes)
        shapes += [(0,), (0,), (0,), (1,)]
        self.register_buffer("bins", source.bins)
        self.register_buffer("hertz_of_bins", source.bins * self.width)
        self.register_buffer("half_turns", math.pi * (source.bins % 2))
        self.register_buffer("share", torch.arange(1, source.steps + 1) / source.steps)
        self.register_buffer("exact_share", torch.arange(1, source.steps + 1, dtype=torch.float64) / source.steps)

    def forward(self, rows: Tensor, state: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        log_pitch = rows[..., : self.points].flatten(1).clamp(self.low, self.high).double() / self.scale
        voicing = (rows[..., self.points :].flatten(1).clamp(-1, 1) + 1) / 2
        hertz = self.centre * _between(log_pitch, state[self.place], self.exact_share).exp()
        voicing_of_frames = _between(voicing, state[self.place + 1], self.share)
        before = _delayed(hertz, state[self.place + 2])
        steps = (before + hertz) * self.hop / (2 * self.sample_rate)
        phase = (state[self.place + 3] + steps.cumsum(dim=1)) % 1
        state[self.place], state[self.place + 1] = log_pitch[:, -1:], voicing[:, -1:]
        state[self.place + 2], state[self.place + 3] = hertz[:, -1:], phase[:, -1:]
        lines, turned = self._lines(hertz.unsqueeze(-1), phase.unsqueeze(-1))
        return lines, turned, voicing_of_frames

    def _lines(self, hertz: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        number = (self.hertz_of_bins / hertz).round().clamp_min(1)
        at = number * hertz
        distance = (self.bins - at / self.width).float()
        lobe = torch.sinc(distance) + 0.5 * (torch.sinc(distance - 1) + torch.sinc(distance + 1))
        lobe = lobe.clamp_min(0) * ((distance.abs() < 2) & (at < self.sample_rate / 2))
        return lobe, 2 * math.pi * (number * turns % 1).float() + self.half_turns


class FusedHead(nn.Module):
    """`ISTFTHead` with its overlap-add: cosines and sines by themselves, and the windows' summed energy out of a table."""

    def __init__(self, head: ISTFTHead, shapes: Shapes) -> None:
        super().__init__()
        self.norm, self.project = head.norm, head.project
        self.channels, self.n_fft, self.sources = head.channels, head.n_fft, head.sources
        add = head.overlap_add
        self.hop, self.trim, self.late = add.hop, add.trim, add.overlap - 1
        self.rows_per_latent = len(head.advance)
        self.largest, self.breath = MAX_LOG_MAGNITUDE, MIN_BREATH
        self.place = len(shapes)
        shapes.append((head.channels, self.late, add.hop))
        self.register_buffer("advance", head.advance)
        self.register_buffer("window", head.window)
        self.register_buffer("energy", add.energy)
        #: what the samples of row n are divided by, the same from row ``late`` on: [late + 1, hop]
        self.register_buffer("weight", add.energy.cumsum(dim=0).clamp_min(1e-8))

    def nothing(self, like: Tensor) -> Tensor:
        """No samples [B, A, 0]."""
        return like.new_zeros(like.shape[0], self.channels, 0)

    def forward(
        self,
        x: Tensor,
        envelope: Tensor,
        harmonics: tuple[Tensor, Tensor, Tensor] | None,
        state: list[Tensor],
        latents_before: int,
    ) -> Tensor:
        """Map rows [B, N, D] to the audio [B, A, S] that is final by now; the others as for `ISTFTHead`."""
        shape = self.project(self.norm(x)).view(x.shape[0], x.shape[1], 2, self.sources, self.channels, -1)
        level, phase = shape.permute(2, 3, 0, 4, 1, 5).unbind(0)  # [sources, B, A, N, bins] each
        turned = (phase[0].unflatten(2, [-1, self.rows_per_latent]) + self.advance).flatten(2, 3)
        if harmonics is None:
            magnitude = self._magnitude(envelope + level[0])
            real, imaginary = magnitude * turned.cos(), magnitude * turned.sin()
        else:
            lines, line_phase, voicing = harmonics
            voicing = voicing[:, None, :, None]
            noise = self._magnitude(envelope + level[0] + (1 + self.breath - voicing).log())
            tone = self._magnitude(envelope + level[1]) * lines.unsqueeze(1) * voicing
            line_phase = phase[1] + line_phase.unsqueeze(1)
            real = noise * turned.cos() + tone * line_phase.cos()
            imaginary = noise * turned.sin() + tone * line_phase.sin()
        frames = torch.fft.irfft(torch.complex(real, imaginary), n=self.n_fft) * self.window
        return self._overlap_add(frames, state, latents_before * self.rows_per_latent)

    def _magnitude(self, log_magnitude: Tensor) -> Tensor:
        return log_magnitude.clamp_(max=self.largest).exp_()

    def _overlap_add(self, frames: Tensor, state: list[Tensor], before: int) -> Tensor:
        """Samples of windowed frames [B, A, N, n_fft], ``before`` frames from the start, that no later frame can change."""
        count = frames.shape[2]
        total = nn.functional.pad(state[self.place], (0, 0, 0, count))  # [B, A, late + N, hop]
        for row, piece in enumerate(frames.split(self.hop, dim=3)):
            total.narrow(2, row, count).add_(piece)
        state[self.place] = total.narrow(2, count, self.late)
        if before >= self.late:
            weight = self.weight[-1]
        else:
            weight = self.weight[(torch.arange(count, device=frames.device) + before).clamp(max=self.late)]
        audio = (total.narrow(2, 0, count) / weight).flatten(2)
        return audio[:, :, min(max(0, self.trim - before * self.hop), audio.shape[2]) :]

    def flush(self, state: list[Tensor], latents: int) -> Tensor:
        """The last samples [B, A, S] of a stream that so many latents came out of, more than ``late`` being as good as all."""
        rows, last = latents * self.rows_per_latent, self.late
        # Of a row behind the last frame only frames that began before it: the later parts of their windows.
        parts = [self.energy[row + 1 : min(rows + row, last) + 1].sum(dim=0) for row in range(last)]
        total = state[self.place]
        weight = torch.stack(parts).clamp_min(1e-8) if parts else total.new_ones(0, self.hop)
        audio = (total / weight).flatten(2)
        return audio[..., max(0, self.trim - rows * self.hop) : audio.shape[-1] - self.trim]


def _delayed(x: Tensor, last: Tensor) -> Tensor:
    """x [B, N] one place later, behind the ``last`` [B, 1] before it: its own first at the start, where there is none [B, 0]."""
    return torch.cat([last if last.shape[1] else x[:, :1], x[:, :-1]], dim=1)


def _between(points: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """Linear interpolation from each point to the next: [B, N] -> [B, N * steps], the last frame on the point."""
    before = _delayed(points, last).unsqueeze(-1)
    return (before * (1 - share) + points.unsqueeze(-1) * share).flatten(1)
