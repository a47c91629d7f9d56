"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from calm.errors import InputError

__all__ = ["write_bytes", "write_together"]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` under ``path`` in one step; missing folders are made. Returns the path.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the final
    name, so that a crash, Ctrl-C or a full disk never leaves half a file under it.
    Raises InputError where the folder cannot be written or has no space.
    """
    return write_together({path: data})[0]


def write_together(files: Mapping[str | os.PathLike[str], bytes]) -> list[Path]:
    """Write files that belong together as ``write_bytes`` writes one; returns their paths.

    All of them reach the disk under temporary names before the first takes its final one; they take them in
    the order given. A kill between two of these steps leaves the first files new and the others as they were.
    Raises InputError where a folder cannot be written or has no space: before any file has changed.
    """
    path, size = Path(), 0
    temporaries: dict[Path, Path] = {}
    try:
        for path, data in ((Path(name), data) for name, data in files.items()):
            size = len(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise InputError("The output is a folder, not a file", where=path, hint="add a file name")
            temporaries[path] = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.part")
            with open(temporaries[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    except OSError as error:
        raise _explain(error, path, size) from error
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return list(temporaries)


def _explain(error: OSError, path: Path, size: int) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what, hint = f"No space to write {size:,} bytes ({error.strerror})", "free some space or choose another folder"
    else:
        what, hint = f"The file cannot be written ({error.strerror or error})", "choose a folder that you may write to"
    return InputError(what, where=path, hint=hint)
