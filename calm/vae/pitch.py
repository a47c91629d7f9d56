"""Pitch as latents: what an autocorrelation finds in the encoder, and the harmonics it sounds as in the decoder."""

from __future__ import annotations

import math

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from calm.vae.attention import State

__all__ = ["HarmonicSource", "PitchTracker"]

MIN_HERTZ, MAX_HERTZ, CENTRE_HERTZ = 60.0, 500.0, 150.0
WINDOW_SECONDS = 0.06
# A peak at twice the period is as high as the first one: longer periods pay for their length.
OCTAVE_COST = 0.06
# Height of the peak below which a point is unvoiced.
MIN_PERIODICITY = 0.4
# Unvoiced points take the pitch of voiced neighbours, so that it neither jumps nor dives at a consonant.
NEIGHBOURS = (0.05, 0.2, 1.0, 0.2, 0.05)
# Latents have near unit variance: log-pitch is scaled by this, voicing 0..1 becomes -1..1.
PITCH_SCALE = 3.0


class PitchTracker(nn.Module):
    """Audio [B, A, S] -> [B, F, 2 P]: log-pitch at P points of every latent, then voicing at the same points.

    The height of the normalised autocorrelation's best peak (Boersma, 1993) is the voicing. A point lies in the
    middle of the last STFT frame before it, so that a decoder can interpolate without looking ahead. Not learned.
    A tone whose period falls between samples may be found at a multiple of its period, whose harmonics hold it.

    Args:
        points: P. hop: samples per latent. stft_hop: samples per STFT frame. sample_rate: Hz.
    """

    def __init__(self, points: int, *, hop: int, stft_hop: int, sample_rate: int) -> None:
        super().__init__()
        self.points, self.distance, self.sample_rate = points, hop // points, sample_rate
        self.offset = (self.distance - stft_hop) // 2
        size = round(WINDOW_SECONDS * sample_rate)
        self.n_fft = 2 ** math.ceil(math.log2(2 * size))
        self.lags = (int(sample_rate / MAX_HERTZ), int(sample_rate / MIN_HERTZ))
        window = torch.hann_window(size)
        own = torch.fft.irfft(torch.fft.rfft(window, self.n_fft).abs().square())
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("window_correlation", (own / own[0])[: self.lags[1] + 2], persistent=False)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        mono = reduce(audio.float(), "b a s -> b s", "mean")
        around = len(self.window) - self.distance
        left = around // 2 - self.offset
        frames = nn.functional.pad(mono, (left, around - left)).unfold(-1, len(self.window), self.distance)
        pitch, periodicity = self._best_lag(frames - frames.mean(dim=-1, keepdim=True))
        voicing = ((periodicity - MIN_PERIODICITY) / (1 - MIN_PERIODICITY)).clamp(0, 1)
        rows = [PITCH_SCALE * _fill(pitch, voicing.square()), 2 * voicing - 1]
        return torch.cat([rearrange(row, "b (f p) -> b f p", p=self.points) for row in rows], dim=-1)

    def _best_lag(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Log-pitch over ``CENTRE_HERTZ`` and height of the best peak, each [B, N]; frames [B, N, window]."""
        power = torch.fft.rfft(frames * self.window, self.n_fft).abs().square()
        shortest, longest = self.lags
        correlation = torch.fft.irfft(power)[..., : longest + 2]
        # The offset lets digital silence count as unvoiced.
        correlation = correlation / (correlation[..., :1] + 1e-4) / self.window_correlation
        before, here, after = (correlation[..., shortest + i : longest + 1 + i] for i in (-1, 0, 1))
        lag = torch.arange(shortest, longest + 1, device=frames.device)
        score = here - OCTAVE_COST * (lag / shortest).log() / math.log(longest / shortest)
        best = torch.where((here >= before) & (here >= after), score, -1.0).argmax(dim=-1, keepdim=True)
        before, here, after = (side.gather(-1, best).squeeze(-1) for side in (before, here, after))
        # Vertex of the parabola through the peak and its neighbours.
        vertex = (before - after) / (2 * (before - 2 * here + after)).clamp_max(-1e-6)
        period = best.squeeze(-1) + shortest + vertex.clamp(-0.5, 0.5)
        return (self.sample_rate / CENTRE_HERTZ / period).log(), here.clamp(0, 1)


def _fill(pitch: Tensor, weight: Tensor) -> Tensor:
    """Mean of each point and its neighbours by their weight, 0 where nothing near is voiced; all [B, N]."""
    kernel = torch.tensor(NEIGHBOURS, device=pitch.device).view(1, 1, -1)
    total, share = (
        nn.functional.conv1d(x.unsqueeze(1), kernel, padding=len(NEIGHBOURS) // 2).squeeze(1)
        for x in (weight * pitch, weight)
    )
    return total / (share + 1e-3)


class HarmonicSource(nn.Module):
    """Pitch rows [B, F, 2 P] -> magnitude and phase of unit harmonics [B, n, bins], voicing [B, n]; n = F * frames.

    A harmonic sounds in the bins around it with the Hann window's own transform, and its phase is the integral of
    its frequency from the start of the clip (as in neural source-filter models, arXiv 1904.12088). No gradient
    flows to the pitch: the phase's is meaningless.

    Args:
        points: P. frames_per_latent: a multiple of P. n_fft, hop: of the STFT. sample_rate: Hz.
    """

    def __init__(self, points: int, *, frames_per_latent: int, n_fft: int, hop: int, sample_rate: int) -> None:
        super().__init__()
        self.points, self.steps = points, frames_per_latent // points
        self.n_fft, self.hop, self.sample_rate = n_fft, hop, sample_rate
        self.register_buffer("bins", torch.arange(n_fft // 2 + 1), persistent=False)

    @torch.no_grad()
    def forward(self, rows: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor]:
        # In float64 up to the shape of a line: the phase sums up what two runtimes disagree on (exp, rounding), and a
        # hundred harmonics multiply it. Whole turns are dropped, else an hour-long clip would lose its precision.
        low, high = (PITCH_SCALE * math.log(hertz / CENTRE_HERTZ) for hertz in (MIN_HERTZ, MAX_HERTZ))
        log_pitch = rearrange(rows[..., : self.points], "b f p -> b (f p)").float().clamp(low, high)
        log_pitch = log_pitch.double() / PITCH_SCALE
        voicing = (rearrange(rows[..., self.points :], "b f p -> b (f p)").float().clamp(-1, 1) + 1) / 2
        last_pitch, last_voicing, last_hertz, turns = state.get(self, (log_pitch[:, :1], voicing[:, :1], None, 0.0))
        hertz = CENTRE_HERTZ * self._between(log_pitch, last_pitch).exp()
        voicing_of_frames = self._between(voicing, last_voicing)
        before = torch.cat([hertz[:, :1] if last_hertz is None else last_hertz, hertz[:, :-1]], dim=1)
        phase = (turns + ((before + hertz) * self.hop / (2 * self.sample_rate)).cumsum(dim=1)) % 1
        state[self] = (log_pitch[:, -1:], voicing[:, -1:], hertz[:, -1:], phase[:, -1:])
        return *self._lines(hertz, phase), voicing_of_frames

    def _between(self, points: Tensor, last: Tensor) -> Tensor:
        """Linear interpolation from each point to the next: [B, N] -> [B, N * steps], the last frame on the point."""
        before = torch.cat([last, points[:, :-1]], dim=1)
        share = torch.arange(1, self.steps + 1, device=points.device, dtype=points.dtype) / self.steps
        between = before.unsqueeze(-1) * (1 - share) + points.unsqueeze(-1) * share
        return rearrange(between, "b n s -> b (n s)")

    def _lines(self, hertz: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra, in float32, of frames whose fundamental is at ``turns`` in the middle of the frame; every bin hears
        its nearest harmonic."""
        width = self.sample_rate / self.n_fft
        hertz, turns = hertz.unsqueeze(-1), turns.unsqueeze(-1)
        number = (self.bins * width / hertz).round().clamp_min(1)
        distance = (self.bins - number * hertz / width).float()
        lobe = torch.sinc(distance) + 0.5 * (torch.sinc(distance - 1) + torch.sinc(distance + 1))
        lobe = lobe.clamp_min(0) * ((distance.abs() < 2) & (number * hertz < self.sample_rate / 2))
        # A frame starts half a window before its middle: half a turn for every bin.
        return lobe, 2 * math.pi * (number * turns % 1).float() + math.pi * (self.bins % 2)
