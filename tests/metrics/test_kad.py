"""Kernel audio distance: definition, bias, interval, and the order of real audio."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from calm.audio import read, resample
from calm.metrics.base import Item, Rows, Trial, figures_of
from calm.metrics.embedded import interval
from calm.metrics.kad import MAX_BANDWIDTH_ROWS, SCALE, KernelAudioDistance, kernel_distance, median_distance
from calm.registry import build
from calm.scorers.motion import MelMotion
from calm.types import Task, Waveform
from tests.metrics.trials import NO_REAL, REAL

#: numbers of a row of the default embedding
WIDTH = MelMotion.width


def normal(seed: int, count: int, *, size: int = 8, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)) + shift


def test_it_equals_two_naive_loops():
    rows, reference = normal(0, 23, shift=0.4), normal(1, 31)
    pairs = itertools.combinations(range(31), 2)
    bandwidth = np.median([np.linalg.norm(reference[i] - reference[j]) for i, j in pairs])

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.square(a - b).sum() / (2 * bandwidth**2)))

    own = np.mean([kernel(rows[i], rows[j]) for i in range(23) for j in range(23) if i != j])
    theirs = np.mean([kernel(reference[i], reference[j]) for i in range(31) for j in range(31) if i != j])
    across = np.mean([kernel(a, b) for a in rows for b in reference])
    assert median_distance(reference) == pytest.approx(bandwidth, rel=1e-6)
    assert kernel_distance(rows, reference)[0] == pytest.approx(SCALE * (own + theirs - 2 * across), rel=1e-6)


def test_blocks_do_not_change_it(monkeypatch):
    rows, reference = normal(0, 50, shift=100.0), normal(1, 60, shift=100.0)
    value, influences = kernel_distance(rows, reference)
    monkeypatch.setattr("calm.metrics.kad.BLOCK", 7)
    again, others = kernel_distance(rows, reference)
    assert again == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(others, influences, rtol=1e-9)


def test_of_two_samples_of_one_distribution_it_is_zero_on_average_whatever_their_number():
    for count in (5, 40):
        found = [kernel_distance(normal(2 * s, count), normal(2 * s + 1, count))[0] for s in range(300)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
        assert np.mean(np.array(found) < 0) > 0.3


def test_it_grows_with_the_shift():
    found = [kernel_distance(normal(0, 200, shift=shift), normal(1, 200))[0] for shift in (0.0, 0.2, 0.5, 1.0)]
    assert found == sorted(found) and found[-1] > 5


def test_the_influence_of_a_row_is_the_change_when_it_is_left_out():
    rows, reference = normal(0, 200, shift=0.5), normal(1, 100)
    value, influences = kernel_distance(rows, reference)
    left_out = np.array([kernel_distance(np.delete(rows, i, axis=0), reference)[0] for i in range(40)])
    np.testing.assert_allclose((value - left_out) * 199, influences[:40], atol=0.02 * np.abs(influences).max())


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_interval_covers_the_expected_figure_about_as_often_as_it_says(shift):
    reference = normal(999, 200)
    found = [kernel_distance(normal(seed, 60, shift=shift), reference) for seed in range(300)]
    expected = np.mean([value for value, _ in found])
    figures = [interval(value, influences) for value, influences in found[:150]]
    assert 0.88 <= np.mean([figure.low <= expected <= figure.high for figure in figures]) <= 1.0


def test_windows_of_a_clip_are_drawn_together():
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(20, 1, WIDTH))
    values = (clips + 0.01 * rng.normal(size=(20, 10, WIDTH))).reshape(-1, WIDTH)
    metric, reference = KernelAudioDistance(), rng.normal(size=(100, WIDTH)) + 0.2
    together = metric.distance(Rows(indices=np.repeat(np.arange(20), 10), values=values), Rows(indices=np.arange(100), values=reference))
    apart = metric.distance(Rows(indices=np.arange(200), values=values), Rows(indices=np.arange(100), values=reference))
    wide, narrow = (f["kad"].high - f["kad"].low for f in (together, apart))
    assert together["kad"].value == apart["kad"].value and 2.5 < wide / narrow < 4
    assert (together["kad"].count, apart["kad"].count) == (20, 200)


def test_the_bandwidth_of_a_large_set_is_that_of_an_even_part_and_of_equal_rows_anything_above_zero():
    many = normal(0, MAX_BANDWIDTH_ROWS + 1, size=2)
    assert median_distance(many) == pytest.approx(median_distance(many[:MAX_BANDWIDTH_ROWS]), rel=0.02)
    assert median_distance(np.ones((4, 3))) == 1.0


def clips_of(task: str) -> list[Waveform]:
    rows = [json.loads(line) for line in (REAL / "metadata.jsonl").read_text().splitlines()]
    names = [row["file_name"] for row in rows if row["task"] == task][:36]
    return [read(REAL / name) for name in names]


def noised(clip: Waveform, seed: int, *, snr: float = 20.0) -> Waveform:
    drawn = torch.randn(clip.audio.shape, generator=torch.Generator().manual_seed(seed))
    return Waveform(audio=clip.audio + drawn * clip.audio.std() * 10 ** (-snr / 20), sample_rate=clip.sample_rate)


def rebuilt(clip: Waveform) -> Waveform:
    """As a codec of low rate leaves it: 6 bits of mu-law, nothing above 3.2 kHz."""
    narrow = resample(resample(clip, 6400), clip.sample_rate)
    pressed = narrow.audio.clamp(-1, 1).sign() * torch.log1p(63 * narrow.audio.clamp(-1, 1).abs()) / np.log(64)
    coarse = (pressed * 32).round() / 32
    return Waveform(audio=coarse.sign() * (64 ** coarse.abs() - 1) / 63, sample_rate=clip.sample_rate)


def rows_of(name: str, clips: Sequence[Waveform]) -> list[np.ndarray]:
    metric, item = build("metric", name), Item(id="x", task=Task.SOUND, text="")
    return [metric.measure(Trial(item=item, clip=clip)) for clip in clips]


def distance(name: str, rows: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    metric = build("metric", name)
    for add, sources in ((metric.update, rows), (metric.update_reference, reference)):
        for index, row in enumerate(sources):
            add(index, row)
    return figures_of(metric.compute())[name].value


@functools.cache
def rows_of_real(name: str, task: str) -> dict[str, list[np.ndarray]]:
    """Rows of a task's recordings; those that are held out also as a codec and noise leave them."""
    clips = clips_of(task)
    held_out = clips[1::2]
    kinds = {
        "reference": clips[0::2],
        "held out": held_out,
        "rebuilt": [rebuilt(clip) for clip in held_out],
        "noised": [noised(clip, seed) for seed, clip in enumerate(held_out)],
    }
    return {kind: rows_of(name, made) for kind, made in kinds.items()}


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REAL)
@pytest.mark.parametrize("name", ["fad", "kad"])
@pytest.mark.parametrize(("task", "other"), [("music", "speech"), ("music", "sound"), ("speech", "music"), ("speech", "sound")])
def test_originals_are_nearer_than_reconstructions_than_noised_ones_than_another_kind(name, task, other):
    rows, others = rows_of_real(name, task), rows_of_real(name, other)
    kinds = [rows["held out"], rows["rebuilt"], rows["noised"], others["reference"] + others["held out"]]
    found = [distance(name, kind, rows["reference"]) for kind in kinds]
    assert found == sorted(found), found
    assert found[3] > 3 * found[0]


@pytest.mark.parametrize("name", ["fad", "kad"])
def test_made_chords_are_nearer_than_noised_ones_than_clicks(name):
    def chord(seed: int) -> Waveform:
        rng, t = np.random.default_rng(seed), np.arange(32_000) / 16_000
        tones = sum(np.sin(2 * np.pi * hz * t) / 3 for hz in rng.uniform(200, 2000, size=3))
        return Waveform(audio=torch.tensor(0.3 * tones * np.exp(-t)).float()[None], sample_rate=16_000)

    def clicks(seed: int) -> Waveform:
        samples = np.zeros(32_000)
        samples[np.random.default_rng(seed).integers(32_000, size=20)] = 0.9
        return Waveform(audio=torch.tensor(samples).float()[None], sample_rate=16_000)

    make: dict[str, Callable[[int], Waveform]] = {
        "held out": lambda s: chord(100 + s),
        "noised 15 dB": lambda s: noised(chord(100 + s), s, snr=15),
        "clicks": clicks,
    }
    reference = rows_of(name, [chord(seed) for seed in range(16)])
    found = {kind: distance(name, rows_of(name, [one(seed) for seed in range(16)]), reference) for kind, one in make.items()}
    assert list(found.values()) == sorted(found.values()), found
