"""What the README tells people to type works: every `calm` line and every Python block is run.

Training lines are resolved with ``--show``: what training does is tested in test_spine.py. Clips are made in two
steps: what the shipped models make in the steps that they are shipped with is tested in tests/generation.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from calm import audio
from calm.config import load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.shipped import shipped_models
from calm.types import Waveform
from tests import processes
from tests.processes import calm, python

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
LINES = [line.partition("  #")[0] for language, text in BLOCKS if not language for line in text.splitlines()]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("calm ")]
PYTHON = [text for language, text in BLOCKS if language == "python"]


#: before `mini` is trained and shipped, the demo's model stands in for it
IS_SHIPPED = "mini" in shipped_models()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder as after `make demo`, with a tiny untrained model and a few recordings of one's own."""
    folder = tmp_path_factory.mktemp("readme")
    parts = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]
    config = load_config([*parts, "name=demo", "sampler.num_steps=1", "sampler.max_seconds=1"])
    torch.manual_seed(0)
    save_pretrained(folder / "runs/demo/export", model=build_model(config), config=config)
    recordings = folder / "my_recordings"
    recordings.mkdir()
    entries = []
    for index, task in enumerate(("speech", "sound", "music")):
        wave = Waveform(audio=0.1 * torch.randn(1, 16000), sample_rate=16000)
        audio.write(recordings / f"{index}.wav", wave, provenance=None)
        entries.append({"file_name": f"{index}.wav", "task": task, "text": "some words"})
    (recordings / "metadata.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    audio.write(folder / "me.wav", Waveform(audio=0.1 * torch.randn(1, 32000), sample_rate=16000), provenance=None)
    return folder


def run(target: Callable[..., None], *words: str, folder: Path) -> str:
    return processes.run(target, *words, folder=folder, log=folder / "log.txt", seconds=120)


def test_every_command_line_works_in_the_order_in_which_it_stands(folder):
    assert len(COMMANDS) >= 10
    for words in COMMANDS:
        if words[0] == "train" and "--show" not in words:
            words = [*words, "--show"]
        if words[0] == "generate":
            words = [*words, "--steps", "2"]
        if words[0] == "generate" and "--model" not in words and not IS_SHIPPED:
            words = [*words, "--model", "runs/demo"]
        assert run(calm, *words, folder=folder)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_every_python_block_runs(folder, code):
    (folder / "block.py").write_text(code if IS_SHIPPED else code.replace('"mini"', '"runs/demo"'))
    run(python, "block.py", folder=folder)


def test_the_two_commands_are_those_of_the_makefile_and_ci_runs_the_second():
    make = (ROOT / "Makefile").read_text()
    assert "make demo" in LINES and "make test" in LINES
    assert all(f"\n{target}:" in make for target in ("demo", "test"))
    script = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith(("#", "set", "cd"))]
    assert script == ["make test"]


def test_the_tree_names_what_exists():
    tree = next(text for language, text in BLOCKS if not language and text.startswith("calm/"))
    for name in re.findall(r"\b[a-z_0-9]+\.py\b", tree):
        assert list((ROOT / "calm").rglob(name)), name
    for folder in re.findall(r"^([a-z_]+)/", tree, flags=re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_no_link_of_the_readme_is_broken():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        if IS_SHIPPED or not target.startswith("calm/models/"):
            assert (ROOT / target).exists(), target
