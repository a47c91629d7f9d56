"""Manifests -> shards -> samples -> batches. Import names from their modules: this package loads on use."""

from __future__ import annotations
