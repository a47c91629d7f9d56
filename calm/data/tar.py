"""Walk a tar archive strictly: every byte is accounted for, nothing is ever extracted.

CPython's ``tarfile`` (and so `webdataset`) takes a damaged header or a cut file for the end of the archive
and loses the rest without a word. Here only the end mark ends an archive.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from calm.errors import DataError

__all__ = ["BLOCK", "TarError", "TarMember", "walk"]

BLOCK = 512
# A clip of an hour of 96 kHz stereo in 24 bit is 2 GB before FLAC halves it; nothing sane is larger.
MAX_MEMBER_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 20
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_ZEROS = bytes(BLOCK)


class TarError(DataError):
    """A tar archive that cannot be read on. ``position`` is the byte at which the trouble was met."""

    def __init__(self, what: str, *, where: object = None, position: int = 0, hint: str | None = None) -> None:
        super().__init__(what, where=f"{where}, byte {position}", hint=hint)
        self.position = position


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """One regular file of an archive: ``data`` are the bytes at ``offset``. ``name`` is untrusted text."""

    name: str
    offset: int
    data: bytes


def walk(stream: IO[bytes], *, where: object) -> Iterator[TarMember]:
    """Yield the members of an uncompressed tar in their order, reading ``stream`` once from start to end.

    Folders are passed over; long names (GNU, pax) are understood.
    Raises TarError where the archive is damaged, cut short anywhere, has no end mark, is followed by
    other bytes, or holds a link, device or other special member.
    """
    tar = _Reader(stream, where)
    long_name: str | None = None
    pax: dict[str, str] = {}
    while (header := tar.header()) is not None:
        begin = tar.position - BLOCK
        if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            data = tar.data(header.size, limit=MAX_HEADER_BYTES)
            if header.type == tarfile.XHDTYPE:
                pax = _pax_records(data)
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                long_name = data.rstrip(b"\0").decode("utf-8", "replace")
            continue
        name = pax.get("path") or long_name or header.name
        size = int(pax["size"]) if pax.get("size", "").isdigit() else header.size
        long_name, pax = None, {}
        if header.type == tarfile.DIRTYPE:
            continue
        if header.type not in _REGULAR:
            raise TarError(
                f"The member '{name}' is a link, device or other special file",
                where=where,
                position=begin,
                hint="shards hold regular files only: pack the clips again",
            )
        offset = tar.position
        yield TarMember(name=name, offset=offset, data=tar.data(size, limit=MAX_MEMBER_BYTES))


class _Reader:
    """Reads whole blocks and knows where it is."""

    def __init__(self, stream: IO[bytes], where: object) -> None:
        self.stream, self.where, self.position = stream, where, 0

    def header(self) -> tarfile.TarInfo | None:
        """Return the next header, or None at a proper end mark."""
        begin = self.position
        raw = self.take(BLOCK)
        if raw == _ZEROS:
            self._end(begin)
            return None
        try:
            info = tarfile.TarInfo.frombuf(raw, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise TarError(
                f"The shard is damaged: no valid tar header here ({error})",
                where=self.where,
                position=begin,
                hint="copy or pack the shard again",
            ) from error
        if info.size < 0:
            raise TarError("The tar header claims a negative size", where=self.where, position=begin)
        return info

    def data(self, size: int, *, limit: int) -> bytes:
        begin = self.position
        if size > limit:
            raise TarError(f"A member claims {size:,} bytes; {limit:,} are allowed", where=self.where, position=begin)
        data = self.take(size)
        padding = self.take(-size % BLOCK)
        if padding.strip(b"\0"):
            raise TarError("The padding after a member is not zero: damaged", where=self.where, position=begin + size)
        return data

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; memory follows what the stream gives, not what a header claims."""
        parts: list[bytes] = []
        missing = size
        while missing and (part := self.stream.read(min(missing, 1 << 20))):
            parts.append(part)
            missing -= len(part)
        begin, self.position = self.position, self.position + size - missing
        if missing:
            raise TarError(
                f"The shard is cut short: it ends at byte {self.position} without an end mark",
                where=self.where,
                position=begin,
                hint="copy or pack the shard again",
            )
        return b"".join(parts)

    def _end(self, begin: int) -> None:
        """Check the second zero block, and that only zeros follow."""
        rest = self.take(BLOCK)
        while rest:
            if rest.strip(b"\0"):
                raise TarError("Other bytes follow a zero block: damaged", where=self.where, position=begin)
            rest = self.stream.read(1 << 20)
            self.position += len(rest)


def _pax_records(data: bytes) -> dict[str, str]:
    """Parse the ``LENGTH KEY=VALUE\\n`` records of a pax header; what does not parse is left out."""
    records: dict[str, str] = {}
    position = 0
    while match := re.compile(rb"(\d{1,7}) ([^=]+)=").match(data, position):
        end = position + int(match[1])
        if end <= match.end():
            break
        records[match[2].decode("utf-8", "replace")] = data[match.end() : end - 1].decode("utf-8", "replace")
        position = end
    return records
