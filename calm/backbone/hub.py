"""A model's folder: a local one, the hub's copy on this disk, or a download."""

from __future__ import annotations

import re
from pathlib import Path

from calm.errors import CheckpointError

__all__ = ["FILES", "find_folder"]

#: what a pretrained backbone is made of
FILES = ("config.json", "tokenizer.json", "*.safetensors")

_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def find_folder(path: str, *, with_weights: bool = True, download: bool = True) -> Path:
    """Return the folder that ``path`` names.

    Args:
        path: a local folder, or ``owner/name`` on the hub. A local folder of that name comes first.
        with_weights: whether the weights are wanted, or configuration and tokenizer alone.
        download: whether the hub may be asked for what is not on this disk.

    Raises CheckpointError that says what to put where. A local folder is returned as it is: whoever reads it knows
    what must be in it.
    """
    folder = Path(path).expanduser()
    if folder.is_dir() or not _REPO.fullmatch(path):
        return folder
    from huggingface_hub import snapshot_download

    patterns = list(FILES if with_weights else FILES[:2])
    reason = ""
    for is_local in (True, False) if download else (True,):
        try:
            found = Path(snapshot_download(path, allow_patterns=patterns, local_files_only=is_local))
            missing = [pattern for pattern in patterns if not any(found.glob(pattern))]
            if not missing:
                return found
            reason = f"its download has no {', '.join(missing)}"
        except Exception as error:  # the hub client raises errors of many kinds where there is no network
            reason = f"it could not be downloaded ({type(error).__name__})"
    said = f"is not on this disk, and {reason}" if download else "is not on this disk"
    raise CheckpointError(
        f"The model '{path}' {said}",
        where="backbone.path",
        allowed=f"a local folder with {', '.join(patterns)}, or owner/name on the hub",
        hint=f"fetch it where there is a network (`hf download {path} --local-dir DIR`), and set backbone.path=DIR",
    )
