"""Flow heads, which replace the softmax, and the stop head."""

from calm.head.base import FlowHead
from calm.head.stop import StopHead

__all__ = ["FlowHead", "StopHead"]
