"""Transformer bodies. A backbone receives a mask and never makes one."""

from calm.backbone.base import Backbone, Residual
from calm.backbone.cache import Cache
from calm.backbone.joint_cache import JointCache

__all__ = ["Backbone", "Cache", "JointCache", "Residual"]
