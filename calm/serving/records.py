"""Signed records of what was sent, kept for a while so that they can be fetched."""

from __future__ import annotations

import uuid
from collections import OrderedDict

__all__ = ["RecordStore"]

#: what all records together may take
MAX_BYTES = 64 << 20


class RecordStore:
    """The newest records, in memory. A record that is older, or of an earlier start of the server, is gone.

    Args:
        num_records: so many are kept at most.
        max_bytes: of all of them together.
    """

    def __init__(self, num_records: int, *, max_bytes: int = MAX_BYTES) -> None:
        self._num_records, self._max_bytes, self._num_bytes = num_records, max_bytes, 0
        self._records: OrderedDict[str, bytes] = OrderedDict()

    @staticmethod
    def new_id() -> str:
        return f"record_{uuid.uuid4().hex}"

    def put(self, id: str, record: bytes | None) -> None:
        """Keep a record; None, where records are turned off, is nothing to keep."""
        if record is None:
            return
        self._num_bytes += len(record) - len(self._records.pop(id, b""))
        self._records[id] = record
        while len(self._records) > self._num_records or self._num_bytes > self._max_bytes:
            _, oldest = self._records.popitem(last=False)
            self._num_bytes -= len(oldest)

    def get(self, id: str) -> bytes | None:
        return self._records.get(id)
