"""`calm launch`: a training that is started again until it is done. One launcher runs on every node.

plan.py says where a node stands, attempt.py runs its workers once, loop.py decides what comes next.
"""

from __future__ import annotations

from calm.launch.loop import Outcome, launch
from calm.launch.plan import LaunchPlan

__all__ = ["LaunchPlan", "Outcome", "launch"]
