"""The version of the files that hold weights: written into exports and training checkpoints, looked at when they are read.

    1  as written before versions were: without the entry
    2  with the entry; the configuration may have the group `lora`
"""

from __future__ import annotations

from calm.errors import CheckpointError

__all__ = ["FORMAT_KEY", "FORMAT_VERSION", "check_format"]

FORMAT_KEY = "format_version"
FORMAT_VERSION = 2
#: the oldest version that is read as it is
OLDEST_VERSION = 1


def check_format(found: str | int | None, *, where: object) -> int:
    """Return the version of a file whose entry is ``found``; raises CheckpointError where it cannot be read."""
    try:
        version = 1 if found is None else int(found)
    except ValueError:
        raise CheckpointError(f"'{found}' is no format version", where=where, allowed="a whole number") from None
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"The file has format {version}, this release reads up to {FORMAT_VERSION}",
            where=where,
            hint="install a newer release: pip install --upgrade audiocalm",
        )
    if version < OLDEST_VERSION:
        raise CheckpointError(
            f"The file has format {version}, this release reads from {OLDEST_VERSION} on",
            where=where,
            hint="convert it with a release in between: calm export RUN OUT there, then pretrained_ckpt_path=OUT here",
        )
    return version
