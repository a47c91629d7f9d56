"""Read a shard from its first byte to its last: the clips it holds, and everything that is wrong with it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from calm.audio import AudioInfo
from calm.data.index import Clip, ShardIndex
from calm.data.latents import LATENT_EXTENSION, LatentFormat, read_npy
from calm.data.schema import parse_record, text_of
from calm.data.tar import TarError, TarMember, walk
from calm.errors import DataError

__all__ = ["AUDIO_EXTENSIONS", "EXTENSIONS", "Problem", "Scan", "by_key", "scan", "split_name"]

AUDIO_EXTENSIONS = ("flac", "wav", "ogg", "mp3")
#: members that a shard may hold; nothing else is ever looked into
EXTENSIONS = (*AUDIO_EXTENSIONS, "json", "txt", LATENT_EXTENSION)

Examine = Callable[[bytes, object], AudioInfo]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong with a shard, or with one clip of it (``key``)."""

    shard: str
    key: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The clips that are whole, and the problems. ``position`` is where the tar broke, or None."""

    index: ShardIndex
    problems: tuple[Problem, ...]
    position: int | None


def scan(shard: Path, *, examine: Examine) -> Scan:
    """Scan one shard. ``examine(bytes, where)`` returns the audio's header or raises DataError."""
    clips: list[Clip] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    forms: list[LatentFormat | None] = []
    broken: int | None = None

    def report(key: str | None, reason: str) -> None:
        problems.append(Problem(shard=shard.name, key=key, reason=reason))

    with shard.open("rb") as file:
        stream = _Summed(file)
        try:
            for key, members in by_key(walk(stream, where=shard)):
                if key in seen:
                    report(key, "the key occurs more than once (or its members are not side by side)")
                    continue
                seen.add(key)
                try:
                    clip, form = _clip(key, members, examine, where=f"{shard.name}: {key}")
                    if forms and form != forms[0]:
                        raise DataError("it holds audio or latents otherwise than the shard's first clip", where=shard)
                    clips.append(clip)
                    forms.append(form)
                except DataError as error:
                    report(key, _one_line(error))
        except TarError as error:
            broken = error.position
            report(None, f"{error.what} (byte {error.position})")
        while stream.read(1 << 20):  # the checksum is of the whole file, wherever the walk stopped
            pass
    latents = forms[0] if forms else None
    index = ShardIndex(num_bytes=stream.num_bytes, crc32=stream.crc32, clips=tuple(clips), latents=latents)
    return Scan(index=index, problems=tuple(problems), position=broken)


def split_name(name: str) -> tuple[str, str]:
    """``folder/KEY.ext.ra`` -> (``folder/KEY``, ``ext.ra``): WebDataset's rule, the first dot of the last part."""
    match = re.fullmatch(r"((?:.*/)?[^/.]*)\.([^/]*)", name, flags=re.DOTALL)
    return (match[1], match[2].lower()) if match else (name, "")


def by_key(members: Iterable[TarMember]) -> Iterator[tuple[str, list[TarMember]]]:
    """Group the neighbouring members of one key, as WebDataset does."""
    group: list[TarMember] = []
    broken: TarError | None = None
    walked = iter(members)
    while broken is None:
        try:
            member = next(walked, None)
        except TarError as error:
            # What was read of the last key is still handed over, so that it is used or reported by name.
            member, broken = None, error
        if group and (member is None or split_name(member.name)[0] != split_name(group[0].name)[0]):
            yield split_name(group[0].name)[0], group
            group = []
        if member is None:
            break
        group.append(member)
    if broken is not None:
        raise broken


def _clip(
    key: str, members: list[TarMember], examine: Examine, *, where: str
) -> tuple[Clip, LatentFormat | None]:
    """Return a clip, and what its latents are where it has no audio."""
    parts = _parts(key, members, where=where)
    present = [extension for extension in AUDIO_EXTENSIONS if extension in parts]
    if not present and LATENT_EXTENSION in parts:
        present = [LATENT_EXTENSION]
    if len(present) != 1:
        raise DataError(f"{len(present)} audio members, expected 1", where=where, allowed=AUDIO_EXTENSIONS)
    if "json" not in parts:
        raise DataError("the partner KEY.json is missing", where=where)
    audio, text = parts[present[0]], parts["json"]
    record = parse_record(text.data, where=where)
    form = None
    if present[0] == LATENT_EXTENSION:
        header, form = _examine_latents(audio.data, record, where)
    else:
        header = examine(audio.data, where)
    for name, found in (("sample_rate", header.sample_rate), ("channels", header.channels)):
        if record.get(name, found) != found:
            raise DataError(f"KEY.json says {name} {record[name]}, the audio has {found}", where=where)
    if abs(record.get("duration", header.seconds) - header.seconds) > 0.01:
        raise DataError(f"KEY.json says {record['duration']} s, the audio has {header.seconds:.3f} s", where=where)
    clip = Clip(
        key=key,
        task=record["task"],
        speaker=record.get("speaker"),
        text_length=len(text_of(record)),
        frames=header.frames,
        sample_rate=header.sample_rate,
        channels=header.channels,
        extension=present[0],
        audio_offset=audio.offset,
        audio_size=len(audio.data),
        audio_crc32=zlib.crc32(audio.data),
        json_offset=text.offset,
        json_size=len(text.data),
        json_crc32=zlib.crc32(text.data),
    )
    return clip, form


def _parts(key: str, members: list[TarMember], *, where: str) -> dict[str, TarMember]:
    """Return the members of a key by extension; raises DataError for what a shard must not hold."""
    if not key or key.startswith("/") or ".." in key.split("/") or not key.isprintable():
        raise DataError("the member's name is not a safe key", where=where)
    parts: dict[str, TarMember] = {}
    for member in members:
        extension = split_name(member.name)[1]
        if extension not in EXTENSIONS:
            raise DataError(f"unknown member '.{extension}'", where=where, allowed=EXTENSIONS)
        if extension in parts:
            raise DataError(f"duplicate member '.{extension}'", where=where)
        parts[extension] = member
    return parts


def _examine_latents(data: bytes, record: dict[str, Any], where: str) -> tuple[AudioInfo, LatentFormat]:
    """Check KEY.npy, and return the header of the audio that it was encoded from."""
    form = LatentFormat.of(record, where=where)
    if missing := [name for name in ("duration", "sample_rate", "channels") if name not in record]:
        raise DataError(f"KEY.json of latents must say {' and '.join(missing)} of the audio", where=where)
    read_npy(data, record, where=where)
    seconds = record["latents"]["num_samples"] / form.sample_rate
    if abs(record["duration"] - seconds) > 0.01:
        raise DataError(f"KEY.json says {record['duration']} s, the latents have {seconds:.3f} s", where=where)
    rate = record["sample_rate"]
    frames = round(record["duration"] * rate)
    return AudioInfo(frames=frames, sample_rate=rate, channels=record["channels"], format="latents"), form


class _Summed:
    """A stream that counts and sums up what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.num_bytes, self.crc32 = file, 0, 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.num_bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        return data


def _one_line(error: DataError) -> str:
    return error.what + (f" (allowed: {error.allowed})" if error.allowed else "")
