"""What the shell sees when a verb fails: one clear message and an exit code, no traceback for input errors.

Exit codes: 0 done, 1 the machine refused (disk, permission, a package), 2 wrong input, 75 preempted (a training that was
asked to stop, and can go on), 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import errno
import signal
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from calm.errors import CalmError

__all__ = ["INPUT_ERROR", "INTERRUPTED", "MACHINE_ERROR", "PREEMPTED", "ErrorGroup", "console", "printable"]

#: 75 is EX_TEMPFAIL of sysexits.h: run it again later. 130 is what a shell says of Ctrl-C.
INPUT_ERROR, MACHINE_ERROR, PREEMPTED, INTERRUPTED = 2, 1, 75, 130
#: what an installation from requirements-inference.txt lacks; any other missing module is a defect
BEYOND_INFERENCE = ("encodec", "lightning", "matplotlib", "tensorboard", "torchmetrics", "transformers", "wandb", "webdataset")
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def console(*, stderr: bool = False) -> Console:
    """A console for plain text: paths and prompts keep their brackets."""
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def printable(text: object) -> str:
    """The text on one line, without what steers a terminal: for words out of files that others wrote."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)[:1000])
    return shown.encode("utf-8", "replace").decode()


class ErrorGroup(TyperGroup):
    """The root of the command; every verb runs inside ``invoke``."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CalmError as error:
            _complain(str(error))
            # Training turns a signal into an error of its own, after it has saved everything.
            number = getattr(error, "signal_number", 0)
            code = INTERRUPTED if number == signal.SIGINT else PREEMPTED
            raise typer.Exit(code if number else INPUT_ERROR) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in BEYOND_INFERENCE:
                raise
            _complain(f"{package} is not installed; this copy is for inference\n  next:    pip install audiocalm")
            raise typer.Exit(MACHINE_ERROR) from None
        except KeyboardInterrupt:
            _complain("interrupted; finished files are whole, nothing half-written is left")
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            where = f" ({error.filename})" if error.filename else ""
            _complain(f"no space left on the disk{where}; free some, or choose another folder, and run it again")
            raise typer.Exit(MACHINE_ERROR) from None


def _complain(text: str) -> None:
    console(stderr=True).print(text, style="red")
