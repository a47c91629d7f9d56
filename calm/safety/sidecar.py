"""The signed record beside a published file: ``FILE.provenance.json``.

It has two entries. ``record`` says what the file is and where it is from. ``signature`` is Ed25519 (RFC 8032) over
``CONTEXT`` and the record as JSON with sorted keys and no spaces, with the public key and its fingerprint. The file's
bytes follow from its content, so that any changed byte is found.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from calm.errors import ProvenanceError
from calm.safety.keys import fingerprint

__all__ = ["SUFFIX", "Sidecar", "make_sidecar", "read_sidecar", "sidecar_path"]

SUFFIX = ".provenance.json"
VERSION = 1
#: what is signed begins with this: no signature made for something else fits
CONTEXT = b"audiocalm provenance 1\n"
ALGORITHM = "Ed25519"
MAX_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A record whose signature holds, with the fingerprint of the key that it holds for."""

    record: dict[str, Any]
    fingerprint: str


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of ``path`` lies."""
    return path.with_name(path.name + SUFFIX)


def make_sidecar(record: dict[str, Any], *, key: Ed25519PrivateKey) -> bytes:
    """The bytes of the sidecar; entries without a value are left out."""
    record = {name: value for name, value in record.items() if value is not None}
    public = key.public_key()
    signature = {
        "algorithm": ALGORITHM,
        "fingerprint": fingerprint(public),
        "public_key": _base64(public.public_bytes(Encoding.Raw, PublicFormat.Raw)),
        "value": _base64(key.sign(_signed(record))),
    }
    return _bytes({"audiocalm_provenance": VERSION, "record": record, "signature": signature})


def read_sidecar(data: bytes, *, where: object = None) -> Sidecar:
    """Check a sidecar by itself. Raises ProvenanceError unless it is, byte for byte, what its key signed."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has {len(data):,} bytes")
        values = json.loads(data)
        if values["audiocalm_provenance"] != VERSION:
            raise ValueError(f"version {values['audiocalm_provenance']!r}, not {VERSION}")
        record, signature = dict(values["record"]), values["signature"]
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(signature["public_key"], validate=True))
        public.verify(base64.b64decode(signature["value"], validate=True), _signed(record))
        if signature["algorithm"] != ALGORITHM or signature["fingerprint"] != fingerprint(public) or _bytes(values) != data:
            raise ValueError("it was changed around its record")
    except InvalidSignature:
        raise ProvenanceError("The sidecar's signature does not fit its record: it was changed", where=where) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProvenanceError(f"The sidecar is damaged ({error or type(error).__name__})", where=where) from None
    return Sidecar(record=record, fingerprint=fingerprint(public))


def _signed(record: dict[str, Any]) -> bytes:
    return CONTEXT + json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _bytes(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
