"""Random mutations of a file's bytes, and what makes mutants that get past the outermost checks of a format."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
import zipfile

from calm.data.tar import BLOCK

__all__ = ["TEXT_TOKENS", "mutate", "with_header", "with_pickle", "with_tar_sums"]

#: what parsers of text stumble over
TEXT_TOKENS = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 30, b"1" * 5000, b"0.5", b'""', b"[]", b"{}"),
    *(b"[" * 3000, b'{"a":' * 3000, b"\\ud800", b"\\u0000", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b'"', b"'", b",", b":"),
    *(b"../", b"/", b"${oc.env:HOME}", b"${seed}", b"!!python/object:os.system ", b"!!binary ", b"!!timestamp ", b"&a ", b"*a "),
)
#: what parsers of binary formats stumble over
WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**36, 2**62, 2**63, 2**64 - 1)


def mutate(good: bytes, rng: random.Random, *, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Return ``good`` after 1 to 8 random changes; ``tokens`` are put in as well."""
    data = good
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        data = _changed(data or b"\0", rng, tokens)
    return data


def _changed(data: bytes, rng: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    # Headers lie at the beginning: half of the changes do, too.
    begin = rng.randrange(min(len(data), 512) if rng.random() < 0.5 else len(data))
    end = min(len(data), begin + rng.choice((1, 2, 4, 8, 64, 512)))
    head, middle, tail = data[:begin], data[begin:end], data[end:]
    match rng.randrange(9 if tokens else 7):
        case 0:
            return head + bytes([middle[0] ^ 1 << rng.randrange(8)]) + middle[1:] + tail
        case 1:
            return head + rng.randbytes(len(middle)) + tail
        case 2:
            return head + bytes(len(middle)) + tail
        case 3:
            return head + tail
        case 4:
            return head + middle * rng.choice((2, 3, 100)) + tail
        case 5:
            return head
        case 6:
            size = rng.choice((1, 2, 4, 8))
            word = (rng.choice(WORDS) % 256**size).to_bytes(size, rng.choice(("little", "big")))
            return head + word + data[begin + size :]
        case 7:
            return head + rng.choice(tokens) + tail
        case _:
            return _with_value(data, rng, tokens)


def _with_value(data: bytes, rng: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    """Put a token in the place of a whole number, string or word."""
    values = list(re.finditer(rb'"[^"\n]*"|[\w.-]+', data))
    if not values:
        return data + rng.choice(tokens)
    begin, end = rng.choice(values).span()
    return data[:begin] + rng.choice(tokens) + data[end:]


def with_tar_sums(data: bytes) -> bytes:
    """Make the checksum of every tar header right again."""
    blocks = [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)]
    return b"".join(_summed(block) if block[257:262] == b"ustar" and len(block) == BLOCK else block for block in blocks)


def _summed(header: bytes) -> bytes:
    unsigned, _ = tarfile.calc_chksums(header)
    return header[:148] + f"{unsigned:06o}\0 ".encode() + header[156:]


def with_pickle(good: bytes, rng: random.Random) -> bytes:
    """Mutate the pickle in a file of `torch.save`, within a zip whose sums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(buffer, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, mutate(data, rng) if item.filename.endswith(".pkl") else data)
    return buffer.getvalue()


def with_header(good: bytes, rng: random.Random) -> bytes:
    """Mutate the JSON header of a safetensors file, with its length right."""
    size = int.from_bytes(good[:8], "little")
    header = mutate(json.dumps(json.loads(good[8 : 8 + size])).encode(), rng, tokens=TEXT_TOKENS)
    return len(header).to_bytes(8, "little") + header + good[8 + size :]
