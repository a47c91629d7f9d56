"""Keys that sign published files: made at first use, or one's own; and the keys that a reader knows.

In the user's folder (``calm.safety.settings.home``):

    keys/signing_key.pem         Ed25519, signs sidecars; 0600
    keys/signing_key.pub.pem     its public half, to give to others
    keys/certificate_key.pem     P-256, signs C2PA manifests; 0600
    keys/certificates.pem        its certificate, and the one that this was issued by; to give to others
    trusted/*.pem                public keys and certificates of others; the file's name says whose
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from calm.errors import ProvenanceError
from calm.safety.certificates import make_chain
from calm.safety.pem import blocks, private_bytes
from calm.safety.settings import HOME, ProvenanceSettings, home

__all__ = ["Credentials", "Trusted", "credentials", "fingerprint", "signing_key", "trusted"]

SIGNING_KEY, PUBLIC_KEY = "signing_key.pem", "signing_key.pub.pem"
CERTIFICATE_KEY, CERTIFICATES = "certificate_key.pem", "certificates.pem"
OWN = "your own key"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What signs a C2PA manifest: a chain of certificates, the signer's first, and its key, both PEM."""

    certificates: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """Whom a reader knows: ``keys`` fingerprint -> name, and ``certificates``, PEM of authorities."""

    keys: dict[str, str]
    certificates: str


def fingerprint(key: Ed25519PublicKey) -> str:
    """``SHA256:`` and the base64 of the SHA-256 of the key's 32 bytes: short enough to read out and compare."""
    digest = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def signing_key(settings: ProvenanceSettings) -> Ed25519PrivateKey:
    """The key for sidecars; made at first use. Raises ProvenanceError where it cannot be used."""
    path = settings.signing_key or _own_keys() / SIGNING_KEY
    data = _read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad_key(path, f"it cannot be read: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad_key(path, f"it is {type(key).__name__}")
    return key


def credentials(settings: ProvenanceSettings) -> Credentials:
    """Certificates and key for C2PA; made at first use. Raises ProvenanceError where a file is missing or open to all."""
    folder = None if settings.certificates else _own_keys()
    certificates = settings.certificates or folder / CERTIFICATES
    key = settings.certificate_key or folder / CERTIFICATE_KEY
    text = _read(certificates).decode("ascii", "replace")
    if "PRIVATE KEY" in text:
        # The chain goes into every file: a key pasted into the same PEM must never come near it.
        raise ProvenanceError(
            "The file of certificates holds a private key as well",
            where=certificates,
            hint="keep certificates and key in two files",
        )
    return Credentials(certificates=text, key=_read_private(key).decode("ascii", "replace"))


def trusted(settings: ProvenanceSettings, files: Iterable[Path] = ()) -> Trusted:
    """Whom this reader knows: the own key, ``trusted/*.pem``, and further PEM files. Makes no key.

    Raises ProvenanceError where a file has neither a public Ed25519 key nor a certificate.
    """
    own = home() / "keys"
    keys: dict[str, str] = {}
    certificates: list[str] = []
    for path in (*sorted((home() / "trusted").glob("*.pem")), *files):
        _add(path, _read(path), keys=keys, certificates=certificates, name=path.stem)
    for path in (own / PUBLIC_KEY, own / CERTIFICATES, settings.certificates):
        if path is not None and path.is_file():
            _add(path, _read(path), keys=keys, certificates=certificates, name=OWN)
    if settings.signing_key is not None and settings.signing_key.is_file():
        keys[fingerprint(signing_key(settings).public_key())] = OWN
    return Trusted(keys=keys, certificates="".join(certificates))


def _add(path: Path, data: bytes, *, keys: dict[str, str], certificates: list[str], name: str) -> None:
    found = list(blocks(data.decode("ascii", "replace")))
    for kind, block in found:
        if kind == "CERTIFICATE":
            certificates.append(block)
        elif kind == "PUBLIC KEY":
            try:
                key = serialization.load_pem_public_key(block.encode())
            except (ValueError, UnsupportedAlgorithm) as error:
                raise ProvenanceError(f"A public key cannot be read: {error}", where=path) from None
            if isinstance(key, Ed25519PublicKey):
                keys[fingerprint(key)] = name
    if not {"CERTIFICATE", "PUBLIC KEY"} & {kind for kind, _ in found}:
        raise ProvenanceError(
            "The file has neither a public key nor a certificate", where=path, allowed="PEM", hint=f"as keys/{PUBLIC_KEY}"
        )


def _own_keys() -> Path:
    folder = home() / "keys"
    if not folder.is_dir():
        _make_keys(folder)
    return folder


def _make_keys(folder: Path) -> None:
    """All keys at once, in a folder that takes its name in one step: of two processes, the first one's keys count."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".keys.", dir=folder.parent))  # 0700
        signing, chain = Ed25519PrivateKey.generate(), make_chain()
        _write(temporary / SIGNING_KEY, private_bytes(signing))
        _write(temporary / PUBLIC_KEY, signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        _write(temporary / CERTIFICATE_KEY, private_bytes(chain.key))
        _write(temporary / CERTIFICATES, chain.certificates)
        os.rename(temporary, folder)  # fails where another process's folder is there already
    except OSError as error:
        if not folder.is_dir():
            raise ProvenanceError(
                f"Signing keys cannot be made ({error.strerror or error})",
                where=folder,
                hint=f"set {HOME} to a folder that you may write to, give your own keys, or turn signing off by a flag",
            ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: Path) -> bytes:
    data = _read(path)
    if os.name == "posix" and path.stat().st_mode & 0o007:
        raise ProvenanceError("Everybody may read this private key", where=path, hint=f"chmod 600 {path}")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(
            f"A key or certificate cannot be read ({error.strerror})",
            where=path,
            hint=f"put it back; or remove the folder {home() / 'keys'}, and new keys are made, which nobody knows yet",
        ) from error


def _bad_key(path: Path, what: str) -> ProvenanceError:
    return ProvenanceError(
        f"The signing key cannot be used: {what}",
        where=path,
        allowed="an Ed25519 private key, PEM, without a passphrase",
        hint="openssl genpkey -algorithm ed25519 -out signing_key.pem",
    )
