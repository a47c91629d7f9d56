"""Configuration and components fit together: every name is buildable, every file composes, no key is an orphan."""

from __future__ import annotations

import ast
import dataclasses
import functools
from pathlib import Path

import pytest

import calm
from calm import registry
from calm.config import GROUPS, PARTS, SETTINGS, load_config
from calm.config.layers import read_yaml
from calm.config.schema import schema_of
from tests.architecture.sources import nodes, python_files

ROOT = Path(calm.__file__).parent
CONF = ROOT.parent / "conf"

FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.glob("*/*.yaml"))
GROUP_FILES = [file for file in FILES if not file.startswith("experiment/")]
EXPERIMENTS = [file.split("/")[1] for file in FILES if file.startswith("experiment/")]
COMPONENTS = [(kind, name) for kind in PARTS for name in registry.names(kind)]


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Only the project's own files count, not a `conf` folder that happens to be here."""
    monkeypatch.chdir(tmp_path)


def load(*words):
    chosen = words if any(word.startswith(("model=", "experiment=")) for word in words) else ("model=ar_flow", *words)
    return load_config(chosen, conf_dir=CONF)


def required(file):
    """Words that give the keys which a file leaves to its user (``???``)."""
    path = CONF / f"{file}.yaml"
    values = read_yaml(path) if path.is_file() else {}
    return [f"{file.split('/')[0]}.{key}=given" for key, value in values.items() if value == "???"]


def test_there_are_files_and_components():
    assert GROUP_FILES and EXPERIMENTS and len(COMPONENTS) >= 10


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_is_configured_by_its_name_alone(kind, name):
    record = getattr(load(f"{kind}={{name: {name}}}"), kind)
    if name == "none":
        assert record is None
    else:
        assert record == registry.lookup(kind, name).Config()


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_is_chosen_by_some_file_or_by_its_own_name(kind, name):
    record = getattr(load(f"{kind}={name}", *required(f"{kind}/{name}")), kind)
    assert name == "none" or record.name == name


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_says_in_one_line_what_it_is(kind, name):
    assert 10 <= len(registry.describe(kind, name)) <= 120


@pytest.mark.parametrize("file", GROUP_FILES)
def test_every_group_file_composes_and_holds_only_keys_of_its_schema(file):
    group, option = file.split("/")
    assert group in GROUPS, f"conf/{group} is no group"
    record = getattr(load(f"{group}={option}", *required(file)), group)
    values = read_yaml(CONF / f"{file}.yaml")
    if values.get("name") == "none":
        assert record is None and set(values) == {"name"}
    else:
        assert set(values) <= {field.name for field in dataclasses.fields(record)}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_names_its_run(name):
    config = load(f"experiment={name}", *required(f"experiment/{name}"))
    assert config.name == name
    assert config.model is not None and config.vae is not None


def test_folders_of_conf_are_groups_or_experiments():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders <= {*GROUPS, "experiment"}


@pytest.mark.parametrize("group", [*SETTINGS, *(f"{kind}/{name}" for kind, name in COMPONENTS if name != "none")])
def test_no_key_is_an_orphan(group):
    """Every key of every schema is read as an attribute somewhere in the package."""
    kind, _, name = group.partition("/")
    fields = {field.name for field in dataclasses.fields(schema_of(kind, name or None))} - {"name"}
    unread = fields - attributes_read()
    assert not unread, f"{group}: nobody reads {sorted(unread)}"


@functools.cache
def attributes_read() -> set[str]:
    """Names read as ``x.key``, and the prefixes of keys that are read by ``getattr(x, f"key_{task}")``."""
    read: set[str] = set()
    for file in python_files():
        for node in nodes(file):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "getattr":
                key = node.args[1]
                if isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
                    read |= {f"{key.values[0].value}{task}" for task in calm_tasks()}
                elif isinstance(key, ast.Constant):
                    read.add(key.value)
    return read


def calm_tasks() -> list[str]:
    from calm.types import TASKS

    return [str(task) for task in TASKS]
