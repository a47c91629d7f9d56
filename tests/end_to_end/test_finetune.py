"""docs/FINETUNE.md works: its commands are run in their order, on recordings of one's own, with a tiny model for `mini`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config
from calm.model.build import build_model
from calm.model.checkpoint import load_config_of, save_pretrained
from calm.training.checkpoint_io import read_checkpoint
from tests.data.clips import write_corpus

DOC = (Path(__file__).parents[2] / "docs/FINETUNE.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", DOC, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for block in BLOCKS for line in block.splitlines()]
TINY = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]
SHORT = [
    "trainer.max_steps=2", "trainer.save_every_steps=2", "trainer.val_every_steps=0", "trainer.prompts={}", "data.batch_size=2",
    "data.num_workers=0", "sampler.num_steps=1", "sampler.max_seconds=0.5", "trainer.accelerator=cpu", "optim.warmup_steps=0",
]


def test_every_command_of_the_page_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("calm.model.shipped.SHIPPED", tmp_path / "shipped")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = load_config([*TINY, *SHORT, "name=mini"])
        root = build_model(config)
        root.head.out.weight.data.normal_()  # zero at first: nothing below a frozen head would learn
    for name in ("mini", "mini_vae"):
        save_pretrained(tmp_path / "shipped" / name, model=root, config=config)
    write_corpus(tmp_path / "my_recordings")
    assert len(COMMANDS) >= 6
    for words in COMMANDS:
        short = [*TINY, *SHORT] if words[0] == "train" else []
        # Two more steps, after the two of the run that is gone on with.
        short += ["trainer.max_steps=4"] if "ckpt_path=last" in words else []
        done = CliRunner().invoke(app, [*words, *short], prog_name="calm")
        assert done.exit_code == 0, f"{words}\n{done.output}"
    assert (tmp_path / "mine.wav").is_file()
    check_what_came_out(tmp_path, root)


def check_what_came_out(folder, root):
    before = root.state_dict()
    whole = read_checkpoint(folder / "runs/finetune/checkpoints/last.ckpt")
    small = read_checkpoint(folder / "runs/finetune_lora/checkpoints/last.ckpt")
    assert any("lora_" in name for name in small["state_dict"])
    assert not small["state_dict"].keys() & dict(root.named_parameters()).keys()
    assert whole["state_dict"].keys() == before.keys()
    assert small["global_step"] == 4
    after = load_file(folder / "runs/finetune_lora/export/model.safetensors")
    changed = {name for name, _ in root.named_parameters() if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith("backbone.layers.") and name.endswith("proj.weight") for name in changed)


@pytest.mark.parametrize("experiment", ["finetune", "finetune_lora"])
def test_the_experiments_build_the_model_that_they_start_from(experiment):
    config, mini = load_config([f"experiment={experiment}"]), load_config_of("mini")
    assert str(config.pretrained_ckpt_path) == "mini"
    for part in ("model", "vae", "backbone", "head", "expert", "sampler"):
        assert getattr(config, part) == getattr(mini, part)
