"""TorchScript for inference: many small operations as one call, with neither Python nor its lock between them."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Scripted"]

_log = logging.getLogger(__name__)
#: neither torch's compiler nor `catch_warnings` may be entered by two threads
_one_at_a_time = threading.Lock()


class Scripted:
    """A module, or a function, to be called as TorchScript; as it is where torch cannot do that, which is only slower.

    The module's weights are used, not copied, and must stay where they are. This is no part of a module that keeps it.
    """

    def __init__(self, code: Callable[..., Any]) -> None:
        self._code = self._call = code
        try:
            with _one_at_a_time, warnings.catch_warnings():
                # torch announces that TorchScript will go; then modules stay as they are.
                warnings.simplefilter("ignore")
                self._call = torch.jit.script(code)
        except (RuntimeError, TypeError, AttributeError, OSError) as error:
            _log.debug("%s is not scripted: %s", getattr(code, "__name__", type(code).__name__), error)

    @property
    def fast(self) -> bool:
        """Whether it is TorchScript."""
        return self._call is not self._code

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __reduce__(self) -> tuple:
        # A copy of a module with its scripts has scripts of its own parts.
        return Scripted, (self._code,)
