"""Text that is clean, and code without hidden output, hidden devices, hidden randomness or pickles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.sources import CALM, calls, nodes, place, python_files, text_files

# Written so that this file does not find itself.
UNFINISHED = re.compile("TO" + r"DO|FIX" + r"ME|X" + "XX")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wo" + r"rk|ro" + r"ot|ho" + r"me|Us" + r"ers|mnt|da" + r"ta\d*)/\w")

GLOBAL_SEEDS = {
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "np.random.seed",
    "numpy.random.seed",
    "random.seed",
    "seed_everything",
}
OWN_GENERATORS = {"default_rng", "Generator", "SeedSequence", "Philox", "PCG64", "BitGenerator"}

_PICKLES = re.compile(r"(dill|joblib|cloudpickle|shelve|marshal)(\.|$)|pickle\.(load|loads|Unpickler)$")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        place(file, number)
        for file, text in text_files().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_the_readers_of_this_test_see_the_whole_project():
    seen = {file.name for file in text_files()}
    assert {"README.md", "pyproject.toml", "Makefile", "mask.py", "tiny.yaml", "SHAPES.md"} <= seen


def test_no_line_has_a_tab_or_ends_in_spaces():
    offenders = [
        place(file, number)
        for file, text in text_files().items()
        if file.name != "Makefile"
        for number, line in enumerate(text.splitlines(), start=1)
        if "\t" in line or line != line.rstrip()
    ]
    assert not offenders


def test_every_file_ends_with_one_newline():
    assert [str(f) for f, text in text_files().items() if text and (not text.endswith("\n") or text.endswith("\n\n"))] == []


def test_nothing_is_left_unfinished():
    assert lines_with(UNFINISHED) == []


def test_no_path_of_one_machine_is_written_down():
    assert lines_with(MACHINE_PATH) == []


def test_nothing_is_printed_outside_the_command_line():
    printing = [
        place(file, call)
        for file in python_files()
        if CALM / "cli" not in file.parents
        for call, name in calls(file)
        if name == "print"
    ]
    assert not printing


def test_devices_are_arguments():
    moved = [
        place(file, call)
        for file in python_files()
        for call, _ in calls(file)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda"
    ]
    assert not moved


def test_randomness_is_an_argument():
    """A fit seeds the global generator inside `torch.random.fork_rng`, for initial weights; other people's samplers that
    take no generator are seeded alike, and the programs that run in their environments are processes of their own."""
    global_state = [
        f"{place(file, call)} {name}"
        for file in python_files()
        for call, name in calls(file)
        if _uses_global_state(name) and name not in _allowed_state(file)
    ]
    assert not global_state


def _allowed_state(file: Path) -> set[str]:
    if CALM / "baselines" / "programs" in file.parents:
        return {"torch.manual_seed", "numpy.random.seed", "random.seed"}
    return {"torch.manual_seed"} if {CALM / "training", CALM / "baselines"} & set(file.parents) else set()


def _uses_global_state(name: str) -> bool:
    module, _, function = name.rpartition(".")
    if module in {"np.random", "numpy.random"}:
        return function not in OWN_GENERATORS
    if module == "random":
        return function != "Random"
    return name in GLOBAL_SEEDS or function == "seed_everything"


def test_nothing_is_read_from_a_pickle():
    """`pickle.UnpicklingError` may be caught; nothing may be unpickled."""
    offenders = []
    for file in python_files():
        for node in nodes(file):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None)
                names = {f"{module}.{alias.name}" if module else alias.name for alias in node.names}
                offenders += [place(file, node)] if any(_PICKLES.match(name) for name in names) else []
        offenders += [place(file, call) for call, name in calls(file) if _is_unsafe(call, name)]
    assert not offenders


@pytest.mark.parametrize(
    ("source", "unsafe"),
    [
        ("torch.load(f)", True),
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=True)", False),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f)", False),
        ("eval(text)", True),
        ("pickle.load(f)", True),
    ],
)
def test_an_unsafe_call_is_recognised(source, unsafe):
    call = ast.parse(source, mode="eval").body
    assert _is_unsafe(call, source.partition("(")[0]) is unsafe


def _is_unsafe(call: ast.Call, name: str) -> bool:
    options = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
    if name == "torch.load":
        return options.get("weights_only") is not True
    if name in {"np.load", "numpy.load"}:
        return "allow_pickle" in options and options["allow_pickle"] is not False
    return bool(_PICKLES.match(name)) or name in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.jit.load"}
