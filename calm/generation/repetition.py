"""A clip that is stuck: the same stretch of latents again and again."""

from __future__ import annotations

import math
import re

import numpy as np

__all__ = ["RepetitionGate", "repeats", "spoken_repeats"]

#: shortest and longest stretch that is looked for, and the shortest one that is compared, seconds
SHORTEST_SECONDS, LONGEST_SECONDS, WINDOW_SECONDS = 0.2, 3.0, 0.8
#: words of the longest repeated phrase that is looked for in a text
LONGEST_PHRASE = 16


class RepetitionGate:
    """Takes the latents of one clip block by block and says when the latest stretch was heard ``count`` times.

    Args:
        frame_rate: latents per second.
        similarity: cosine above which two stretches are the same, see ``repeats``.
    """

    def __init__(self, frame_rate: float, *, count: int, similarity: float) -> None:
        self._count, self._similarity = count, similarity
        self._window = math.ceil(WINDOW_SECONDS * frame_rate)
        self._lags = range(max(1, math.ceil(SHORTEST_SECONDS * frame_rate)), int(LONGEST_SECONDS * frame_rate) + 1)
        self._past: np.ndarray | None = None

    def push(self, latents: np.ndarray) -> bool:
        """Take the next latents [K, C]; return whether the clip repeats itself at its end."""
        past = latents if self._past is None else np.concatenate([self._past, latents])
        self._past = past[-(max(self._window, (self._count - 1) * self._lags[-1]) + self._lags[-1]) :]
        return repeats(self._past, count=self._count, lags=self._lags, window=self._window, similarity=self._similarity)


def repeats(latents: np.ndarray, *, count: int, lags: range, window: int, similarity: float) -> bool:
    """Whether the end of latents [F, C] is one stretch of L frames, L among ``lags``, ``count`` times in a row.

    For each L the last (count - 1) L frames, at least ``window``, are compared with those L earlier: cosine
    of the two, each centred on its own mean over time. Centring leaves out silence and held sounds, which
    are the same at any lag without repeating anything.
    """
    flat = np.ascontiguousarray(latents, dtype=np.float32)
    num_frames, channels = flat.shape
    pairs = [(lag, max(window, (count - 1) * lag)) for lag in lags]
    pairs = [(lag, span) for lag, span in pairs if lag + span <= num_frames]
    if not pairs:
        return False
    lag, span = np.array(pairs).T
    products = np.array([_dot(flat, lag=one, span=length) for one, length in pairs])
    sums = np.concatenate([np.zeros((1, channels)), np.cumsum(flat, axis=0, dtype=np.float64)])
    squares = np.concatenate([[0.0], np.cumsum(np.einsum("fc,fc->f", flat, flat), dtype=np.float64)])
    new, old = num_frames - span, num_frames - span - lag
    new_sum, old_sum = sums[-1] - sums[new], sums[num_frames - lag] - sums[old]
    covariance = products - np.einsum("lc,lc->l", new_sum, old_sum) / span
    new_energy = squares[-1] - squares[new] - np.einsum("lc,lc->l", new_sum, new_sum) / span
    old_energy = squares[num_frames - lag] - squares[old] - np.einsum("lc,lc->l", old_sum, old_sum) / span
    # Sums in float32 leave a rest where nothing varies at all.
    floor = 1e-5 * (squares[-1] - squares[old]) + 1e-12
    norm = np.sqrt(np.maximum(new_energy, floor) * np.maximum(old_energy, floor))
    return bool((covariance > similarity * norm).any())


def spoken_repeats(text: str) -> int:
    """How often a phrase follows itself in a text, at most: 1 where none does, 3 for "no, no, no"."""
    words = re.findall(r"\w+", text.lower())
    most = 1
    for length in range(1, min(LONGEST_PHRASE, len(words) // 2) + 1):
        streak = 0
        for word, later in zip(words, words[length:], strict=False):
            streak = streak + 1 if word == later else 0
            most = max(most, 1 + streak // length)
    return most


def _dot(flat: np.ndarray, *, lag: int, span: int) -> float:
    return float(np.vdot(flat[-span:], flat[len(flat) - span - lag : len(flat) - lag]))
