"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from calm.errors import InputError

__all__ = ["write_bytes"]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` under ``path`` in one step; missing folders are made. Returns the path.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the final
    name, so that a crash, Ctrl-C or a full disk never leaves half a file under it.
    Raises InputError where the folder cannot be written or has no space.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError("The output is a folder, not a file", where=path, hint="add a file name")
        temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.part")
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _explain(error, path, len(data)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def _explain(error: OSError, path: Path, size: int) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what, hint = f"No space to write {size:,} bytes ({error.strerror})", "free some space or choose another folder"
    else:
        what, hint = f"The file cannot be written ({error.strerror or error})", "choose a folder that you may write to"
    return InputError(what, where=path, hint=hint)
