"""Text forms of keys and certificates (RFC 7468)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["blocks", "private_bytes"]

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----(?:\r?\n|$)", flags=re.DOTALL)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Every block of a PEM text with its kind, for example ``CERTIFICATE``; each ends with a newline."""
    for match in _BLOCK.finditer(text):
        yield match[1], match[0].rstrip() + "\n"


def private_bytes(key: PrivateKeyTypes) -> bytes:
    """A private key as PKCS 8, PEM, without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
