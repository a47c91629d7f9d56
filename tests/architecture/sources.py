"""The project's own source files, for the tests that read them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CALM = ROOT / "calm"

#: folders and files that are written by hand
_WRITTEN = ("calm", "conf", "tests", "benchmarks", "notebooks", "docs", "data_shards/README.md")
_SUFFIXES = {".py", ".yaml", ".yml", ".md", ".toml", ".txt", ".ipynb", ".html", ".css", ".js", ".json", ""}
_GENERATED = {"__pycache__", ".ipynb_checkpoints"}


def python_files(*packages: str) -> list[Path]:
    """Python files of packages of calm, or of all of calm."""
    roots = [CALM / package for package in packages] or [CALM]
    files = sorted(file for root in roots for file in root.rglob("*.py"))
    assert files, f"no Python files in {packages}"
    return files


@functools.cache
def text_files() -> dict[Path, str]:
    """Every text file of the project that a person writes, with its text."""
    return {file: file.read_text(encoding="utf-8") for file in _text_files()}


def _text_files() -> Iterator[Path]:
    for file in sorted([*ROOT.glob("*"), *(f for name in _WRITTEN for f in _below(ROOT / name))]):
        written = file.is_file() and file.suffix in _SUFFIXES and not _GENERATED & set(file.parts)
        if written and (file.parent != ROOT or not file.name.startswith(".")):
            yield file


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*"))


@functools.cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


@functools.cache
def nodes(file: Path) -> list[ast.AST]:
    """Every node of a file's tree."""
    return list(ast.walk(parse(file)))


def place(file: Path, node: ast.AST | int) -> str:
    """``path:line``, as an editor takes it."""
    return f"{file.relative_to(ROOT)}:{node if isinstance(node, int) else node.lineno}"


def dotted(node: ast.AST) -> str:
    """The dotted name of an expression, ``""`` where it is not one: ``torch.random.manual_seed``."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def calls(file: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a file, with the dotted name of what is called."""
    for node in nodes(file):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)
