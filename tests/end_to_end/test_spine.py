"""Corpus -> shards -> VAE -> generator -> interrupt -> resume -> generate -> page, by the command a user types."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from calm import audio
from tests import processes

SMALL = ("data.num_workers=0", "data.batch_size=3", "data.max_seconds=2.0", "sampler.num_steps=2")


WIDE = {"COLUMNS": "200"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("spine")


def calm(folder: Path, *words: str, code: int = 0) -> str:
    """Run one command in ``folder`` and return what it printed."""
    log = folder.with_name(f"{folder.name}.log")
    return processes.run(processes.calm, *words, folder=folder, log=log, seconds=240, code=code, environ=WIDE)


def train(folder: Path, *words: str) -> tuple[str, ...]:
    shards = folder / "shards"
    return ("train", *words, f"data.train={shards}/train", f"data.validation={shards}/validation")


def test_the_whole_way_from_nothing_to_a_page(folder):
    assert "of audio" in calm(folder, "corpus", "corpus", "--seconds", "60", "--seed", "1")
    calm(folder, "shards", "pack", "corpus", "shards")
    assert "no problems" in calm(folder, "shards", "check", "shards/train")
    calm(folder, *train(folder, "experiment=tiny_vae"))
    assert (folder / "runs/tiny_vae/export/model.safetensors").is_file()

    words = train(folder, "experiment=tiny", "vae_ckpt_path=runs/tiny_vae/export", "trainer.log_every_steps=1", *SMALL)
    step = interrupt(folder, *words, "trainer.max_steps=1000000", "trainer.val_every_steps=0")
    run = folder / "runs/tiny"
    assert (run / "checkpoints/last.ckpt").is_file() and not (run / "export").exists()

    resumed = (*words, "ckpt_path=last", f"trainer.max_steps={step + 4}", "trainer.val_every_steps=2")
    calm(folder, *resumed, "trainer.save_every_steps=2", "trainer.sample_seconds=0.5")
    steps = {int(line.split(",")[0]) for line in (run / "history.csv").read_text().splitlines()[1:]}
    assert max(steps) == step + 4
    assert sorted(p.name for p in (run / "export").iterdir()) == ["config.yaml", "model.safetensors"]

    said = calm(folder, "generate", "--task", "sound", "--text", "rain", "--duration", "1", "-o", "rain.wav", "--model", "runs/tiny")
    assert "RTF" in said
    clip = audio.read(folder / "rain.wav")
    assert clip.seconds == 1.0 and clip.sample_rate == 16000
    assert audio.read_provenance(folder / "rain.wav").task == "sound"

    calm(folder, "page", "runs/tiny")
    page = (run / "index.html").read_text()
    assert "<audio" in page and "http://" not in page.replace("http://www.w3.org", "")


def interrupt(folder: Path, *words: str) -> int:
    """Start training, press Ctrl-C when it is under way, and return the step at which it saved."""
    history = folder / "runs/tiny/history.csv"
    log = folder.with_name("interrupted.log")
    process = processes.start(processes.calm, *words, folder=folder, log=log, environ=WIDE)
    while not history.is_file() or len(history.read_text().splitlines()) < 5:
        process.join(0.2)
        assert process.exitcode is None, f"training ended by itself: {process.exitcode}\n{log.read_text()}"
    os.kill(process.pid, signal.SIGINT)
    process.join(120)
    assert process.exitcode == 130, log.read_text()
    assert "ckpt_path=last" in log.read_text()
    import torch

    state = torch.load(folder / "runs/tiny/checkpoints/last.ckpt", weights_only=True, map_location="cpu")
    return int(state["global_step"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "experiment=dmeo"), "Did you mean 'demo'"),
        (("train", "experiment=tiny", "backbone.num_layer=3"), "num_layers"),
        (("train", "experiment=tiny", "data.train=nowhere"), "nowhere"),
        (("shards", "pack", "nowhere", "out"), "nowhere"),
        (("shards", "check", "nowhere"), "nowhere"),
        (("generate", "--task", "speech", "--text", "hi", "--model", "nowhere", "-o", "x.wav"), "nowhere"),
        (("generate", "--task", "speech", "--text", "hi", "-o", "x.xyz"), ".wav"),
        (("consent", "new", "--ref-audio", "none.wav", "--who", "a", "--purpose", "b", "--expires", "2999-01-01"), "none.wav"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing_behind(tmp_path, words, said):
    output = calm(tmp_path, *words, code=2)
    assert said in output and "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_what_the_corpus_says_about_itself_is_true(folder):
    lines = (folder / "corpus/train/metadata.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert audio.info(folder / "corpus/train" / first["file_name"]).sample_rate == first["sample_rate"]
