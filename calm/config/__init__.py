"""YAML and command line -> one frozen `RunConfig`. Nobody outside this package sees OmegaConf."""

from __future__ import annotations

from calm.config.component import read_component, read_words
from calm.config.compose import load_config, load_config_file
from calm.config.dump import save_config, show, to_yaml
from calm.config.schema import GROUPS, PARTS, SETTINGS, RunConfig
from calm.config.sources import split_sources
from calm.config.timeline import timeline

__all__ = [
    "GROUPS",
    "PARTS",
    "SETTINGS",
    "RunConfig",
    "load_config",
    "load_config_file",
    "read_component",
    "read_words",
    "save_config",
    "show",
    "split_sources",
    "timeline",
    "to_yaml",
]
