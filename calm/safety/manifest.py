"""C2PA manifests (https://c2pa.org, specification 2.1): a signed statement of origin inside the file itself.

The samples are not touched: WAV and FLAC get a chunk, MP3 an ID3 frame. Nothing is fetched from a network, neither
in signing (so there is no time stamp of an authority) nor in reading.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from calm.audio import Provenance
from calm.errors import ProvenanceError
from calm.safety.keys import Credentials

__all__ = ["FORMATS", "Manifest", "read_manifest", "sign_manifest"]

#: formats that can carry a manifest -> media type; Ogg, Vorbis or Opus, cannot
FORMATS = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
#: IPTC's word for media that a trained model made
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
ASSERTION = "org.audiocalm.generation"
#: what of the record of origin goes into the manifest; the prompt itself is nowhere
FIELDS = ("model", "task", "seed", "created", "model_sha256", "config_sha256", "prompt_sha256", "consent_sha256", "consent_id")
#: words in every manifest: the box that describes another (JUMBF), and what it is
REMAINS = (b"jumd", b"c2pa")
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file's manifest says. ``problems`` is empty where everything fits; ``trusted``: a known authority."""

    problems: tuple[str, ...] = ()
    trusted: bool = False
    signer: str | None = None
    says: dict[str, Any]


def sign_manifest(data: bytes, *, format: str, provenance: Provenance, credentials: Credentials) -> bytes:
    """Return the file ``data`` with a manifest in it.

    Raises ProvenanceError where the certificates cannot sign: expired, for another key, signed by themselves.
    """
    c2pa = _library()
    name, _, version = provenance.generator.rpartition(" ")
    agent = {"name": name or version, "version": version}
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
    generation = {key: value for key in FIELDS if (value := getattr(provenance, key)) is not None}
    content = {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": ASSERTION, "data": generation},
        ],
    }
    signed = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(
            c2pa.C2paSigningAlg.ES256, credentials.certificates.encode(), credentials.key.encode(), None
        )
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(content, c2pa.Context.from_dict(OFFLINE)) as builder:
            builder.sign(signer, FORMATS[format], io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise ProvenanceError(
            f"The C2PA manifest cannot be signed ({_reason(error)})",
            where="certificates, certificate_key",
            allowed="a chain of certificates (PEM), the signer's first, not self-signed, valid today, with its P-256 key",
            hint="`provenance.yaml` in the user's folder names your own (docs/SAFETY.md, Origin); self-made ones that have "
            "expired are made anew where the folder `keys` is moved away",
        ) from None
    return signed.getvalue()


def read_manifest(data: bytes, *, format: str, authorities: str = "") -> Manifest | None:
    """Read and check the manifest of a file; None where it has none.

    Args:
        format: of ``FORMATS``.
        authorities: certificates (PEM) of those whose signers are known, beside the library's own list.
    Raises ProvenanceError where there is one that cannot be read.
    """
    c2pa = _library()
    settings = {**OFFLINE, **({"trust": {"user_anchors": authorities}} if authorities else {})}
    try:
        with c2pa.Reader(FORMATS[format], io.BytesIO(data), context=c2pa.Context.from_dict(settings)) as reader:
            state, store = reader.get_validation_state(), json.loads(reader.json())
    except c2pa.C2paError as error:
        # Where no box of a manifest is in sight, the file is odd, not its manifest; where one is, it was to be found.
        if not all(word in data for word in REMAINS):
            return None
        raise ProvenanceError(f"The C2PA manifest is damaged ({_reason(error)})") from None
    active = _mapping(_mapping(store.get("manifests")).get(store.get("active_manifest")))
    info = _mapping(active.get("signature_info"))
    return Manifest(
        problems=_problems(store) if state == "Invalid" else (),
        trusted=state == "Trusted",
        signer=info.get("common_name") or info.get("issuer"),
        says=_says(active),
    )


def _problems(store: dict[str, Any]) -> tuple[str, ...]:
    """Codes of what does not fit, other than that nobody knows the signer."""
    results = _mapping(_mapping(store.get("validation_results")).get("activeManifest"))
    codes = [each.get("code", "") for each in _mappings(results.get("failure"))]
    return tuple(dict.fromkeys(code for code in codes if code != "signingCredential.untrusted")) or ("invalid",)


def _says(active: dict[str, Any]) -> dict[str, Any]:
    """Other programs' manifests are read as well: nothing in them is sure to be there, or of a kind."""
    assertions = {str(each.get("label")): _mapping(each.get("data")) for each in _mappings(active.get("assertions"))}
    actions = [
        action
        for label, data in assertions.items()
        if label.startswith("c2pa.actions")
        for action in _mappings(data.get("actions"))
    ]
    sources = [str(action["digitalSourceType"]).rpartition("/")[2] for action in actions if "digitalSourceType" in action]
    generators = [str(each.get("name")) for each in _mappings(active.get("claim_generator_info"))]
    said = assertions.get(ASSERTION, {})
    return {**said, "generator": ", ".join(generators), "source_type": ", ".join(sources)}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _reason(error: Exception) -> str:
    return str(error).rstrip(". ")


def _library() -> Any:
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:  # the package loads a native library as it is imported
        raise ProvenanceError(
            f"c2pa-python cannot be loaded ({_reason(error)})",
            hint="pip install c2pa-python; or leave C2PA out, which files then say: --provenance sidecar,watermark",
        ) from None
    return c2pa
