"""`import calm` is free, `calm --help` is quick, and inference needs no lightning."""

from __future__ import annotations

import json
import os
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

HELP = """
import sys
from calm.cli import main

for verb in ("train", "doctor", "generate", "serve", "corpus", "shards", "consent", "detect", "components", "demo"):
    sys.argv = ["calm", verb, "--help"]
    try:
        main()
    except SystemExit as left:
        assert not left.code, (verb, left.code)
    assert not {"torch", "lightning"} & set(sys.modules), verb
"""

#: what training and judging need, and inference does not (requirements-inference.txt leaves them out)
TRAINING_ONLY = (
    "diffusers",
    "encodec",
    "lightning",
    "lightning_fabric",
    "matplotlib",
    "pytorch_lightning",
    "tensorboard",
    "torchaudio",
    "torchmetrics",
    "transformers",
    "wandb",
    "webdataset",
)

ABSENT = f"""
import sys

class Absent:
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(TRAINING_ONLY)!r}:
            self.asked.append(name)
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

SHIPPED = """
import sys
from calm import AudioCALM
from calm.cli import app

clip = AudioCALM.from_pretrained("mini", device="cpu").generate("Rain.", task="sound", duration=0.2, steps=1)[0]
assert clip.audio.shape[-1] == round(0.2 * clip.sample_rate)
words = ["generate", "Rain.", "--task", "sound", "--duration", "0.2", "--steps", "1", "--device", "cpu", "-o", "rain.wav"]
app(words, standalone_mode=False)
assert "sympy" not in sys.modules  # torch imports it for some calls that one can do without: a second of the start
"""

TRAIN = """
assert not Absent.asked, Absent.asked
try:
    app(["train", "experiment=tiny"])
except SystemExit as left:
    assert left.code == 1, left.code
"""

GENERATE = """
from calm import AudioCALM
from tests.factory import tiny_generator

for model in ("ar_flow", "head_flow"):
    clip = AudioCALM(tiny_generator(model)).generate("Hello.", task="speech", duration=0.02, steps=2)[0]
    assert clip.audio.shape == (1, 320), clip.audio.shape
"""

LOAD = """
import sys
from calm import load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained

config = load_config(["experiment=tiny", "vae_ckpt_path=null"])
save_pretrained(sys.argv[1], model=build_model(config), config=config)
clip = AudioCALM.from_pretrained(sys.argv[1], device="cpu").generate("Rain.", task="sound", duration=0.2, steps=1)[0]
assert clip.audio.shape[-1] == round(0.2 * clip.sample_rate)
"""


#: a launcher that is started again after every fault does not wait for what its workers import
LAUNCHER = """
import calm.launch
assert not {"lightning", "torchmetrics"} & set(Absent.asked), Absent.asked
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


def test_the_help_of_a_verb_loads_no_torch(tmp_path):
    """In one process: the first verb that loads any is named."""
    assert run(sys.executable, "-c", HELP, cwd=tmp_path).stdout.count("Usage") == 10


def test_the_shipped_model_generates_where_only_inference_is_installed(tmp_path):
    """In Python and by the command, which signs what it writes; neither looks for anything else, and training asks."""
    done = run(sys.executable, "-c", ABSENT + SHIPPED + TRAIN, cwd=tmp_path)
    assert "lightning is not installed" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "rain.wav").stat().st_size > 3200


def test_a_model_of_each_kind_is_saved_and_loads_where_only_inference_is_installed(tmp_path):
    run(sys.executable, "-c", ABSENT + GENERATE + LOAD + LAUNCHER, str(tmp_path / "export"), cwd=tmp_path)


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
