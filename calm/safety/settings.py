"""What a published file gets, and with whose keys. Lies in the user's folder; a flag may turn parts off."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from calm.errors import InputError, ProvenanceError, did_you_mean

__all__ = ["HOME", "PARTS", "ProvenanceSettings", "home", "parse_parts"]

#: what a published file gets beside the comment tag, which is always written
PARTS = ("sidecar", "c2pa", "watermark")
ALLOWED = f"all, none, or some of {','.join(PARTS)}"
#: environment variable with the user's folder, and the folder where it is not set
HOME, DEFAULT_HOME = "AUDIOCALM_HOME", "~/.config/audiocalm"
#: file with settings in it, and the keys that it may have: no part can be turned off there, out of sight
FILE, FILE_KEYS = "provenance.yaml", ("signing_key", "certificates", "certificate_key", "watermark")


def home() -> Path:
    """The user's folder with keys and settings: $AUDIOCALM_HOME, or ~/.config/audiocalm."""
    return Path(os.environ.get(HOME) or DEFAULT_HOME).expanduser().absolute()


def parse_parts(text: str, *, where: object = "--provenance") -> tuple[str, ...]:
    """The parts in "all", "none" or "sidecar,c2pa". Raises InputError for another word."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words in (["all"], ["none"]):
        return PARTS if words == ["all"] else ()
    for word in words:
        if word not in PARTS:
            guess = did_you_mean(word, (*PARTS, "all", "none")) or ""
            raise InputError(f"Unknown part '{word}'. {guess}".strip(), where=where, allowed=ALLOWED)
    if not words:
        raise InputError("No part is named", where=where, allowed=ALLOWED)
    return tuple(part for part in PARTS if part in words)


@dataclass(frozen=True, kw_only=True)
class ProvenanceSettings:
    """How published files say where they are from.

    Args:
        parts: of ``PARTS``; a part that is missing was turned off by an explicit flag, and files say so.
        signing_key: Ed25519 key (PEM) for sidecars; None for the key that is made at first use.
        certificates: chain of certificates (PEM), the signer's first, for C2PA; None for a self-made chain.
        certificate_key: the signer's P-256 key (PEM), for ES256.
        watermark: registered name of the watermark.
    """

    parts: tuple[str, ...] = PARTS
    signing_key: Path | None = None
    certificates: Path | None = None
    certificate_key: Path | None = None
    watermark: str = "spread"

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise InputError(f"Unknown part '{unknown[0]}'", where="parts", allowed=PARTS)
        if self.watermark == "none":
            raise ProvenanceError(
                "The watermark is turned off in the settings", where="watermark", hint="a flag does that: --provenance sidecar,c2pa"
            )
        if (self.certificates is None) != (self.certificate_key is None):
            raise ProvenanceError(
                "A certificate and its key belong together", where="certificates, certificate_key", hint="give both, or neither"
            )

    @classmethod
    def load(cls, *, parts: tuple[str, ...] = PARTS) -> ProvenanceSettings:
        """Read ``provenance.yaml`` of the user's folder, where there is one; its paths are relative to the folder.

        Raises ConfigError where it cannot be read, ProvenanceError where it says something else than keys.
        """
        path = home() / FILE
        if not path.is_file():
            return cls(parts=parts)
        from calm.config.layers import read_yaml

        values = read_yaml(path)
        for key, value in values.items():
            if key not in FILE_KEYS or not isinstance(value, str):
                what = f"'{key}' is no text" if key in FILE_KEYS else f"Unknown key '{key}'. {did_you_mean(key, FILE_KEYS) or ''}"
                raise ProvenanceError(what.strip(), where=path, allowed=FILE_KEYS)
        name = {"watermark": values.pop("watermark")} if "watermark" in values else {}
        return cls(parts=parts, **{key: home() / Path(value).expanduser() for key, value in values.items()}, **name)
