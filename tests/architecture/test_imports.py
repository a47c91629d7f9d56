"""Imports flow one way, and heavy or restricted libraries stay behind one door each."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT, nodes, parse, place, python_files


def test_packages_import_from_lower_floors_only():
    """The contracts stand in pyproject.toml, section tool.importlinter. In a process of its own: it configures logging
    for the whole process, and would silence every logger that exists."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_imports_are_absolute():
    relative = [
        place(file, node)
        for file in python_files()
        for node in nodes(file)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_encodec_is_imported_inside_functions_only():
    """Its licence binds those who use it; nobody else ever loads it."""
    at_import_time = [
        place(file, node)
        for file in python_files()
        for node in parse(file).body
        if isinstance(node, ast.Import | ast.ImportFrom) and "encodec" in _names(node)
    ]
    assert not at_import_time


def test_the_command_line_imports_heavy_packages_inside_its_verbs():
    light = ("calm.cli", "calm.errors", "calm.types", "calm.registry")
    eager = [
        f"{place(file, node)} {name}"
        for file in python_files("cli")
        for node in parse(file).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _names(node, full=True)
        if name.split(".")[0] in {"calm", "torch", "lightning", "numpy"} and not name.startswith(light)
    ]
    assert not eager


def _names(node: ast.Import | ast.ImportFrom, *, full: bool = False) -> set[str]:
    names = {node.module or ""} if isinstance(node, ast.ImportFrom) else {alias.name for alias in node.names}
    return names if full else {name.split(".")[0] for name in names}
