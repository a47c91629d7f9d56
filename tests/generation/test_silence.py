"""The tail of silence: found in pieces of 20 ms, however the audio comes in."""

from __future__ import annotations

import pytest
import torch

from calm.generation.silence import HELD_SECONDS, SilenceTail

RATE = 16000


def audio(*parts: tuple[str, float]) -> torch.Tensor:
    """Parts of ("loud" | "quiet", seconds) one after the other, [1, S]; quiet is 60 dB below loud."""
    generator = torch.Generator().manual_seed(0)
    gains = {"loud": 0.1, "quiet": 1e-4}
    pieces = [gains[kind] * torch.randn(1, round(seconds * RATE), generator=generator) for kind, seconds in parts]
    return torch.cat(pieces, dim=-1)


def tail(*, margin: float = 0.15, limit: float = 1.0, threshold: float = 40.0) -> SilenceTail:
    return SilenceTail(RATE, threshold_db=threshold, margin_seconds=margin, limit_seconds=limit)


def heard(one: SilenceTail, clip: torch.Tensor, *, step: int) -> tuple[list[int], int]:
    """What may go out after each step, and the final length."""
    ready = []
    for piece in clip.split(step, dim=-1):
        one.push(piece)
        ready.append(one.ready)
    return ready, one.finish()


def test_trailing_silence_is_cut_to_the_margin_and_a_pause_within_is_kept():
    clip = audio(("loud", 0.5), ("quiet", 0.6), ("loud", 0.4), ("quiet", 0.7))
    one = tail()
    assert heard(one, clip, step=4000)[1] == pytest.approx(1.65 * RATE, abs=0.02 * RATE)
    assert not one.ended


def test_a_tail_shorter_than_the_margin_stays_as_it_is():
    clip = audio(("loud", 0.5), ("quiet", 0.1))
    assert heard(tail(), clip, step=4000)[1] == clip.shape[-1]


@pytest.mark.parametrize("limit", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_how_the_audio_is_cut_changes_neither_the_end_nor_its_cause(limit, margin):
    clip = audio(("quiet", 0.3), ("loud", 0.41), ("quiet", 0.7), ("loud", 0.2), ("quiet", 2.605))
    ends = set()
    for step in (97, 320, 1280, 5000, clip.shape[-1]):
        one = tail(limit=limit, margin=margin)
        ready, end = heard(one, clip, step=step)
        assert ready == sorted(ready) and ready[-1] <= end
        ends.add((end, one.ended))
    assert len(ends) == 1
    assert ends.pop()[1] is (limit > 0)


def test_what_has_gone_out_is_never_taken_back_and_sound_is_not_held_longer_than_a_piece():
    clip = audio(("loud", 1.0), ("quiet", 0.5), ("loud", 0.5))
    one, sent = tail(), 0
    for piece in clip.split(800, dim=-1):
        one.push(piece)
        assert one.ready >= sent
        sent = one.ready
    assert clip.shape[-1] - sent < 0.02 * RATE + 1
    assert one.finish() == clip.shape[-1]


def test_silence_before_the_first_sound_goes_out_at_once_and_ends_nothing():
    one, clip = tail(limit=0.5), audio(("quiet", 2.0))
    assert heard(one, clip, step=1000) == ([min(n, 32000) for n in range(1000, 32001, 1000)], 32000)
    assert not one.ended


def test_the_gate_ends_the_clip_at_the_margin_once_silence_lasted_and_ignores_what_follows():
    one = tail(limit=1.0)
    clip = audio(("loud", 0.5), ("quiet", 1.2), ("loud", 1.0))
    _, end = heard(one, clip, step=1280)
    assert one.ended and end == pytest.approx(0.65 * RATE, abs=0.02 * RATE)


def test_without_a_margin_the_gate_keeps_the_silence_that_it_waited_for():
    one = tail(limit=1.0, margin=0.0)
    _, end = heard(one, audio(("loud", 0.5), ("quiet", 3.0)), step=1280)
    assert one.ended and end == pytest.approx(1.5 * RATE, abs=0.02 * RATE)


def test_without_a_gate_no_more_silence_is_held_back_than_stated():
    one, sent = tail(limit=0.0), 0
    for count, piece in enumerate(audio(("loud", 0.5), ("quiet", 5.0)).split(1000, dim=-1), start=1):
        one.push(piece)
        sent = one.ready
        assert count * 1000 - sent <= HELD_SECONDS * RATE
    assert one.finish() == sent > 3 * RATE


def test_a_sound_in_one_channel_is_no_silence():
    left = torch.cat([audio(("loud", 1.0)), audio(("quiet", 1.0))])
    clip = torch.cat([left, left.flip(0)], dim=-1)
    one = tail(limit=0.5)
    assert heard(one, clip, step=1280)[1] == clip.shape[-1] and not one.ended


def test_the_threshold_is_relative_to_the_loudest_piece():
    clip = audio(("loud", 0.5), ("quiet", 2.0))
    one = tail(threshold=80.0)
    assert heard(one, clip, step=1280)[1] == clip.shape[-1] and not one.ended
