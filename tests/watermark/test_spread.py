"""The mark `spread`: found after what happens to files, absent elsewhere, quiet, and the same in pieces."""

from __future__ import annotations

import io
import math

import pytest
import soundfile
import torch

from calm import audio, registry
from calm.audio import resample
from calm.errors import ConfigError, InputError
from calm.types import Waveform
from calm.watermark.detector import NUM_OFFSETS, threshold
from calm.watermark.lattice import band_matrix, signs

MARK = registry.build("watermark", "spread")


def clip(seconds: float = 5.0, *, sample_rate: int = 16000, channels: int = 1, seed: int = 0) -> Waveform:
    """Notes with overtones over soft noise, with a pause: two a second."""
    dice = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * sample_rate)) / sample_rate
    notes = 110 * 2 ** (torch.randint(0, 24, (int(2 * seconds) + 1,), generator=dice) / 12)
    pitch = notes[(time * 2).long()]
    tone = sum(torch.sin(2 * math.pi * k * pitch * time) / k for k in range(1, 12))
    sound = 0.1 * tone * torch.exp(-3 * (time * 2 % 1)) * (time % 3 < 2.5)
    noise = 0.003 * torch.randn(channels, len(time), generator=dice)
    return Waveform(audio=sound + noise, sample_rate=sample_rate)


def through_mp3(marked: Waveform) -> Waveform:
    data = io.BytesIO()
    soundfile.write(data, marked.audio.T.numpy(), 16000, format="MP3", bitrate_mode="CONSTANT", compression_level=96 / 152)
    assert len(data.getvalue()) * 8 / marked.seconds == pytest.approx(64_000, rel=0.05)
    return audio.read(data.getvalue())


def cropped(marked: Waveform, begin: int, end: int) -> Waveform:
    return Waveform(audio=marked.audio[:, begin:end], sample_rate=marked.sample_rate)


def noisy(marked: Waveform) -> Waveform:
    noise = torch.randn(marked.audio.shape, generator=torch.Generator().manual_seed(9))
    return Waveform(audio=marked.audio + noise * 0.1 * marked.audio.square().mean().sqrt(), sample_rate=marked.sample_rate)


ATTACKS = {
    "nothing": lambda marked: marked,
    "8 kHz": lambda marked: resample(resample(marked, 8000), 16000),
    "8 kHz, kept": lambda marked: resample(marked, 8000),
    "44.1 kHz, kept": lambda marked: resample(marked, 44100),
    "MP3": through_mp3,
    "cropping": lambda marked: cropped(marked, 12_345, 67_890),
    "noise": noisy,
    "16 bits": lambda marked: audio.read(audio.encode(marked, format="wav", provenance=None)),
    "Vorbis": lambda marked: audio.read(audio.encode(marked, format="ogg", provenance=None)),
    "louder": lambda marked: Waveform(audio=marked.audio * 2.5, sample_rate=16000),
    "upside down": lambda marked: Waveform(audio=-marked.audio, sample_rate=16000),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_is_found_after(attack: str) -> None:
    found = MARK.detect(ATTACKS[attack](MARK.embed(clip())))
    assert found.found and found.score > found.threshold


@pytest.mark.parametrize("sample_rate", [8000, 22050, 24000, 44100, 48000])
def test_clips_of_other_rates_and_two_channels_are_marked(sample_rate: int) -> None:
    original = clip(sample_rate=sample_rate, channels=2)
    marked = MARK.embed(original)
    assert marked.audio.shape == original.audio.shape and marked.sample_rate == sample_rate
    assert MARK.detect(marked).found and MARK.detect(resample(marked, 16000)).found
    assert not MARK.detect(original).found


def test_the_mark_of_another_key_is_not_found() -> None:
    marked = MARK.embed(clip())
    others = [registry.build("watermark", {"name": "spread", "key": f"key {n}"}) for n in range(8)]
    assert MARK.detect(marked).found and not any(other.detect(marked).found for other in others)
    assert others[0].detect(others[0].embed(clip())).found


@pytest.mark.parametrize("level", [20.0, 24.0, 30.0])
def test_the_mark_is_about_as_far_under_the_signal_as_asked(level: float) -> None:
    original = clip()
    added = registry.build("watermark", {"name": "spread", "level_db": level}).embed(original).audio - original.audio
    assert audio.level_dbfs(original.audio) - audio.level_dbfs(added) == pytest.approx(level, abs=2)


@pytest.mark.parametrize(("sample_rate", "channels"), [(16000, 1), (22050, 2)])
def test_pieces_are_marked_as_the_whole(sample_rate: int, channels: int) -> None:
    whole = clip(sample_rate=sample_rate, channels=channels)
    stream, sizes = MARK.stream(sample_rate=sample_rate, channels=channels), [1, 0, 7, 5000, 160, 20_000, 333]
    pieces, begin = [], 0
    while begin < whole.audio.shape[1]:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream.push(whole.audio[:, begin : begin + size]))
        begin += size
    marked = torch.cat([*pieces, stream.finish()], dim=1)
    torch.testing.assert_close(marked, MARK.embed(whole).audio, atol=1e-5, rtol=0)


def test_a_stream_is_a_fifth_of_a_second_late_at_most() -> None:
    stream = MARK.stream(sample_rate=16000)
    out = [stream.push(piece).shape[1] for piece in clip(2).audio.split(800, dim=1)]
    late = max(800 * (i + 1) - sum(out[: i + 1]) for i in range(len(out)))
    assert late <= 0.2 * 16000 and sum(out) + stream.finish().shape[1] == 32000


def test_a_piece_with_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \[2, 9\]"):
        MARK.stream(sample_rate=16000).push(torch.zeros(2, 9))


@pytest.mark.parametrize("samples", [1, 100, 40_000])
def test_silence_stays_silent_and_has_no_mark(samples: int) -> None:
    silence = Waveform(audio=torch.zeros(2, samples), sample_rate=16000)
    assert torch.equal(MARK.embed(silence).audio, silence.audio)
    assert MARK.detect(silence).score == 0


def test_all_channels_get_the_same_gains() -> None:
    one = clip()
    two = Waveform(audio=torch.cat([one.audio, 0.5 * one.audio]), sample_rate=16000)
    marked = MARK.embed(two).audio
    torch.testing.assert_close(marked[1], 0.5 * marked[0], atol=1e-6, rtol=0)


def test_scores_of_wrong_keys_keep_within_the_bound_that_the_threshold_is_made_of() -> None:
    """Hoeffding's bound is loose, so that far fewer than the nominal share of keys pass."""
    unmarked = clip()
    scores = [registry.build("watermark", {"name": "spread", "key": str(n)}).detect(unmarked).score for n in range(60)]
    for rate in (0.5, 0.1):
        assert sum(score >= threshold(rate) for score in scores) <= rate * len(scores)
    assert max(scores) < threshold(1e-3) and min(scores) > 1


def test_the_threshold_is_that_of_a_search_over_all_beginnings() -> None:
    assert NUM_OFFSETS * math.exp(-(threshold(1e-3) ** 2) / 2) == pytest.approx(1e-3)


def test_a_lattice_is_balanced_and_its_own() -> None:
    one, other = signs("one"), signs("other")
    assert set(one.unique().tolist()) == {-1.0, 1.0} and torch.equal(one, signs("one"))
    assert abs(float(one.mean())) < 0.06 and abs(float((one * other).mean())) < 0.06


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100])
def test_every_band_has_bins_and_no_bin_two_bands(sample_rate: int) -> None:
    bands = band_matrix(sample_rate, 4 * round(sample_rate * 0.008))
    assert bands.sum(dim=1).max() == 1 and bands.sum(dim=0).min() >= 1


@pytest.mark.parametrize("options", [{"false_positives": 0.0}, {"level_db": -3.0}, {"max_gain_db": 0.0}])
def test_a_mark_without_a_level_or_a_rate_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        registry.build("watermark", {"name": "spread", **options})
