"""`import calm` is free, `calm --help` is quick, and inference needs no lightning."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib

import pytest

import calm
from tests.architecture.sources import CALM, ROOT

PUBLIC = [
    "AudioCALM",
    "Consent",
    "Generation",
    "Task",
    "VoiceReference",
    "Waveform",
    "__version__",
    "build",
    "components",
    "load_config",
    "register",
]

OPENED = """
import importlib, json, sys, typing, __future__
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import calm
print(json.dumps({"opened": opened, "loaded": sorted(set(sys.modules) - before)}))
"""

NO_LIGHTNING = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"lightning", "pytorch_lightning", "lightning_fabric"}:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Absent())
"""

GENERATE = """
from calm import AudioCALM
from tests.factory import tiny_generator

for model in ("ar_flow", "head_flow"):
    clip = AudioCALM(tiny_generator(model)).generate("Hello.", task="speech", duration=0.02, steps=2)[0]
    assert clip.audio.shape == (1, 320), clip.audio.shape
"""

LOAD = """
from calm import AudioCALM, load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained

config = load_config(["experiment=tiny", "vae_ckpt_path=null"])
save_pretrained(sys.argv[1], model=build_model(config), config=config)
clip = AudioCALM.from_pretrained(sys.argv[1], device="cpu").generate("Rain.", task="sound", duration=0.2, steps=1)[0]
assert clip.audio.shape[-1] == round(0.2 * clip.sample_rate)
"""


def run(*command: str, cwd=None) -> subprocess.CompletedProcess:
    """Run a command in a fresh process that finds this checkout and nothing in the working directory."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_import_calm_opens_and_loads_nothing_but_itself(tmp_path):
    seen = json.loads(run(sys.executable, "-c", OPENED, cwd=tmp_path).stdout)
    assert seen["loaded"] == ["calm"]
    assert seen["opened"] and all(path.startswith(str(CALM)) for path in seen["opened"]), seen["opened"]


def test_help_answers_within_a_second(tmp_path):
    """In seconds of processor time, which busy neighbours on the machine do not change."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage" in run(sys.executable, "-m", "calm", "--help", cwd=tmp_path).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1.0


@pytest.mark.parametrize("verb", ["train", "doctor", "generate", "serve", "corpus", "shards", "consent", "detect", "components", "demo"])
def test_the_help_of_a_verb_loads_no_torch(verb, tmp_path):
    shown = run(sys.executable, "-X", "importtime", "-m", "calm", verb, "--help", cwd=tmp_path)
    assert "Usage" in shown.stdout
    assert not {"torch", "lightning"} & {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}


def test_generation_works_without_lightning():
    run(sys.executable, "-c", NO_LIGHTNING + GENERATE)


def test_a_saved_model_loads_without_lightning(tmp_path):
    run(sys.executable, "-c", NO_LIGHTNING + LOAD, str(tmp_path / "export"), cwd=tmp_path)


def test_the_public_names_are_pinned():
    assert calm.__all__ == PUBLIC
    assert all(getattr(calm, name) is not None for name in PUBLIC)
    assert set(PUBLIC) <= set(dir(calm))


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'AudioKALM'"):
        _ = calm.AudioKALM


def test_the_version_is_the_distributions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert calm.__version__ == project["version"]
