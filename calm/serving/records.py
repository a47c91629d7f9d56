"""Signed records of what was sent, kept for a while so that they can be fetched."""

from __future__ import annotations

import uuid
from collections import OrderedDict

__all__ = ["RecordStore"]



class RecordStore:
    """The newest records, in memory. A record that is older, or of an earlier start of the server, is gone."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records
        self._records: OrderedDict[str, bytes] = OrderedDict()

    @staticmethod
    def new_id() -> str:
        return f"record_{uuid.uuid4().hex}"

    def put(self, id: str, record: bytes | None) -> None:
        """Keep a record; None, where records are turned off, is nothing to keep."""
        if record is None:
            return
        self._records[id] = record
        while len(self._records) > self._num_records:
            self._records.popitem(last=False)

    def get(self, id: str) -> bytes | None:
        return self._records.get(id)
