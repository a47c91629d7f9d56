"""A self-made chain of certificates for C2PA, where nobody has issued one.

C2PA refuses a signer's certificate that signed itself (C2PA 2.1, section 14.5): an authority is made, issues one
certificate, and its key is forgotten. Nobody can issue a second one in its name, and whoever trusts it trusts this
one signer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Chain", "make_chain"]

#: manifests have no time stamp of an authority, so they are checked against the day of reading: let it last
YEARS = 20
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The signer's key, and its certificate followed by the authority's, PEM."""

    certificates: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def make_chain(*, now: datetime | None = None) -> Chain:
    """Make an authority and one certificate for ES256 (ECDSA on P-256 with SHA-256). The names tell of nobody."""
    now = datetime.now(UTC) if now is None else now
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    issuer = _name(f"Self-made authority {serial % 16**8:08X}")
    root = _certificate(issuer, issuer, authority.public_key(), serial=serial, now=now)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    leaf = _certificate(_name(f"Self-made signer {serial % 16**8:08X}"), issuer, signer.public_key(), now=now)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage("digital_signature"), critical=True)
    # A purpose is required; e-mail protection is the one of the allowed that common authorities issue.
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    certificates = [builder.sign(authority, hashes.SHA256()) for builder in (leaf, root)]
    return Chain(certificates=b"".join(each.public_bytes(Encoding.PEM) for each in certificates), key=signer)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, now: datetime, serial: int | None = None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial or x509.random_serial_number())
        # Clocks differ: a certificate of an hour ago is valid on a machine that is slow.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "AudioCALM"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in USAGES})
