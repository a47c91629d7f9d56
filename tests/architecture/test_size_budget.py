"""What does not fit on a few screens is two ideas: files of at most 300 lines, functions of at most 50."""

from __future__ import annotations

import ast

from tests.architecture.sources import ROOT, nodes, place, python_files

MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 50


def test_no_file_is_longer_than_300_lines():
    files = [*python_files(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert [place(file, length) for file, length in lengths.items() if length > MAX_FILE_LINES] == []


def test_no_function_is_longer_than_50_lines_beside_its_docstring():
    long = [
        f"{place(file, node)} {node.name}: {lines}"
        for file in python_files()
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := _code_lines(node)) > MAX_FUNCTION_LINES
    ]
    assert not long


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    total = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - (docstring.end_lineno - docstring.lineno + 1)
