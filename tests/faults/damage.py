"""Damaged shards: ``python -m tests.faults.damage --damages 1000`` writes benchmarks/results/damage.json.

After every damage, training either reads everything but the damaged clips and names each of those by shard and
key, or refuses the shard by its name. A clip that is gone, or changed, without a word is the fault looked for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from calm.data.check import check
from calm.data.config import ShardSource
from calm.data.cut import ClipCut
from calm.data.index import Clip, load_index
from calm.data.planned import PlannedSource
from calm.data.source import SourceSettings
from calm.data.streaming import WebDatasetSource
from calm.data.tar import BLOCK
from calm.errors import DataError
from calm.types import Sample
from tests.data.clips import make_shards
from tests.faults.results import write_result

__all__ = ["DAMAGES", "DamageReport", "Folder", "damage_shards"]

Damage = Callable[[bytes, tuple[Clip, ...], random.Random], bytes]
#: clips of each task; one batch of so many rows, weighted so, draws every clip once
CLIPS = {"speech": 4, "sound": 2, "music": 2}
SECONDS = 60.0


@dataclass(kw_only=True)
class DamageReport:
    """What came of it. ``wrong`` lists what must not be: a loss without a word, or a clip that is named for nothing."""

    damages: dict[str, int] = field(default_factory=dict)
    shards_refused: int = 0
    clips_damaged: int = 0
    clips_lost_and_named: int = 0
    clips_read_bit_identical: int = 0
    streams_refused: int = 0
    clips_streamed: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def flip_in_clip(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Flip one bit of a clip's audio or record."""
    clip = rng.choice(clips)
    spans = ((clip.audio_offset, clip.audio_size), (clip.json_offset, clip.json_size))
    offset, size = rng.choice(spans)
    return _flipped(data, offset + rng.randrange(size), rng)


def flip_in_header(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Flip one bit of a tar header."""
    clip = rng.choice(clips)
    offset = rng.choice((clip.audio_offset, clip.json_offset))
    return _flipped(data, offset - BLOCK + rng.randrange(BLOCK), rng)


def flip_anywhere(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Flip up to 20 bits of the file."""
    for _ in range(rng.randint(1, 20)):
        data = _flipped(data, rng.randrange(len(data)), rng)
    return data


def truncate(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Cut the file short."""
    return data[: rng.randrange(1, len(data))]


def zero_blocks(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Let 1 to 8 blocks be zeros, as a file system does after a power failure."""
    start = rng.randrange(len(data) // BLOCK) * BLOCK
    size = min(rng.randint(1, 8) * BLOCK, len(data) - start)
    return data[:start] + bytes(size) + data[start + size :]


def swap_members(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Let two members, headers and all, change places."""
    first, second = sorted(rng.sample(_members(clips), 2))
    (a, b), (c, d) = first, second
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def double_key(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Write one clip, or one member of it, a second time at some place."""
    begin, end = rng.choice(_members(clips))
    place = rng.choice([begin for begin, _ in _members(clips)])
    return data[:place] + data[begin:end] + data[place:]


def remove_end_mark(data: bytes, clips: tuple[Clip, ...], rng: random.Random) -> bytes:
    """Let the file end with its last member."""
    return data[: max(end for _, end in _members(clips))]


DAMAGES: tuple[Damage, ...] = (
    flip_in_clip,
    flip_in_header,
    flip_anywhere,
    truncate,
    zero_blocks,
    swap_members,
    double_key,
    remove_end_mark,
)


def _members(clips: tuple[Clip, ...]) -> list[tuple[int, int]]:
    """Return where every member begins and ends, with its header and its padding."""
    spans = [s for c in clips for s in ((c.audio_offset, c.audio_size), (c.json_offset, c.json_size))]
    return sorted((offset - BLOCK, offset + size + -size % BLOCK) for offset, size in spans)


def _flipped(data: bytes, place: int, rng: random.Random) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


class Folder:
    """Two good shards, what they hold, and one of them in a damaged state."""

    def __init__(self, folder: Path) -> None:
        self.shards, self.bad_clips = make_shards(folder, **{f"num_{task}": n for task, n in CLIPS.items()}), folder / "bad"
        self.paths = sorted(self.shards.glob("*.tar"))
        self.good = {path: path.read_bytes() for path in self.paths}
        self.clips = {path: load_index(path).clips for path in self.paths}
        self.samples = {sample.key: sample for sample in self._planned()[0]}

    def restore(self) -> None:
        for path, data in self.good.items():
            path.write_bytes(data)

    def damaged_clips(self, path: Path, data: bytes) -> set[str]:
        """Return the keys of the clips whose bytes are no longer what the index says."""
        good = self.good[path]
        spans = {c.key: ((c.audio_offset, c.audio_size), (c.json_offset, c.json_size)) for c in self.clips[path]}
        return {k for k, parts in spans.items() if any(good[o : o + n] != data[o : o + n] for o, n in parts)}

    def judge(self, path: Path, data: bytes, report: DamageReport) -> list[str]:
        """Damage the shard ``path`` to ``data`` and read it; return what is wrong with how that goes."""
        path.write_bytes(data)
        expected = self.damaged_clips(path, data)
        report.clips_damaged += len(expected)
        return self._train(path, expected, report) + self._check(path, expected) + self._stream(path, report)

    def _train(self, path: Path, expected: set[str], report: DamageReport) -> list[str]:
        try:
            read, named = self._planned()
        except DataError as error:
            report.shards_refused += 1
            return [] if str(path) in str(error.where) else [f"refused without the shard's name: {error}"]
        wrong = [f"{key} was read, changed" for key in _changed(read, self.samples)]
        lost = {f"{path}: {key}" for key in expected}
        wrong += [f"named {sorted(named)}, damaged are {sorted(lost)}"] * (named != lost)
        wrong += [f"silently lost {self.samples.keys() - {s.key for s in read} - expected}"] * (
            {s.key for s in read} != self.samples.keys() - expected
        )
        report.clips_lost_and_named += len(named & lost)
        report.clips_read_bit_identical += len({s.key for s in read})
        return wrong

    def _planned(self) -> tuple[list[Sample], set[str]]:
        """Train through every clip once; return what was read, and what was named as unreadable."""
        batches = PlannedSource(PlannedSource.Config(), settings=self._settings(self.shards, sum(CLIPS.values())))
        try:
            (_, examples), *_ = itertools.islice(batches.batches(first_step=0, worker=0, num_workers=1), 1)
        finally:
            batches.shards.close()
        return [example.sample for example in examples], self._named()

    def _check(self, path: Path, expected: set[str]) -> list[str]:
        """`calm shards check` sees every damage, those outside the clips too, and names the clips."""
        problems = check(self.shards).problems
        wrong = ["`calm shards check` sees no problem"] * (not problems)
        wrong += [f"`calm shards check` blames {p.shard}" for p in problems if p.shard != path.name]
        # Of a shard that has another size, the index cannot say more than that.
        keys = {problem.key for problem in problems}
        as_long = len(path.read_bytes()) == len(self.good[path])
        return wrong + [f"`calm shards check` names {keys}, damaged are {expected}"] * (as_long and not expected <= keys)

    def _stream(self, path: Path, report: DamageReport) -> list[str]:
        """Without the index a changed sample of a WAV shows nowhere, but a clip that is missing must be named."""
        source = WebDatasetSource(WebDatasetSource.Config(shuffle_clips=1), settings=self._settings(path, 1, share=0.02))
        batches = source.batches(first_step=0, worker=0, num_workers=1)
        try:
            keys = [e.sample.key for _, examples in itertools.islice(batches, 2 * len(self.samples)) for e in examples]
        except DataError as error:
            report.streams_refused += 1
            return [] if str(path) in str(error.where) else [f"stream refused without the shard's name: {error}"]
        report.clips_streamed += len(keys)
        missing = {clip.key for clip in self.clips[path]} - set(keys)
        return [f"the stream lost {missing} without a word"] * (bool(missing) and not self._named())

    def _settings(self, urls: Path, size: int, *, share: float = 1.0) -> SourceSettings:
        self.bad_clips.unlink(missing_ok=True)
        return SourceSettings(
            sources=(ShardSource(name="all", urls=str(urls)),),
            batch_size=size,
            seed=0,
            weights_at=lambda step: CLIPS,
            cut=ClipCut(SECONDS),
            bad_clips_path=self.bad_clips,
            max_bad_share=share,
        )

    def _named(self) -> set[str]:
        lines = self.bad_clips.read_text().splitlines() if self.bad_clips.exists() else []
        return {json.loads(line)["where"] for line in lines}


def _changed(read: list[Sample], good: dict[str, Sample]) -> list[str]:
    """Return the keys of samples that are not what they were: text, speaker or audio."""
    pairs = [(sample, good[sample.key]) for sample in read]
    return [
        sample.key
        for sample, was in pairs
        if (sample.task, sample.text, sample.speaker, sample.attributes) != (was.task, was.text, was.speaker, was.attributes)
        or not torch.equal(sample.waveform.audio, was.waveform.audio)
    ]


def damage_shards(folder: Path, *, damages: int, seed: int = 0) -> DamageReport:
    """Damage a random shard in a random way, ``damages`` times, and look at what training makes of it."""
    shards, report, began = Folder(folder), DamageReport(), time.monotonic()
    for number in range(damages):
        rng = random.Random(f"{seed}/{number}")
        damage, path = DAMAGES[number % len(DAMAGES)], rng.choice(shards.paths)
        good = shards.good[path]
        # Zeros where zeros were, or two equal members that change places, are no damage.
        while (data := damage(good, shards.clips[path], rng)) == good:
            pass
        report.damages[damage.__name__] = report.damages.get(damage.__name__, 0) + 1
        report.wrong += [f"{number} {damage.__name__}: {what}" for what in shards.judge(path, data, report)]
        shards.restore()
    report.seconds = round(time.monotonic() - began, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = damage_shards(Path(folder), damages=options.damages, seed=options.seed)
    write_result("damage", asdict(report))
    raise SystemExit(bool(report.wrong))


if __name__ == "__main__":
    main()
