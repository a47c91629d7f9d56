"""The comparison of VAE architectures: the other architecture is a VAE like ours, and the script runs to its end."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from calm.data.pack import pack
from calm.registry import build
from calm.training.history import read_history
from tests.data.clips import write_corpus, write_manifest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """The script's module, imported as Python imports it when it is run: with its folder on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("vae_architectures")


@pytest.fixture
def seanet(script):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build("vae", {"name": "seanet_vae", "latent_dim": 6, "num_filters": 2, "dimension": 4}).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of tones with a test split, and its shards."""
    folder = tmp_path_factory.mktemp("tones")
    split = write_corpus(folder / "corpus" / "test", num_speech=4, num_sound=2, num_music=2)
    rows = [json.loads(line) for line in (split / "metadata.jsonl").read_text().splitlines()]
    write_manifest(split, [row | {"duration": soundfile.info(split / row["file_name"]).duration} for row in rows])
    pack(split, folder / "shards", samples_per_shard=8)
    return folder


def call(script, folder, *words):
    shards = [f"data.{split}={folder}/shards" for split in ("train", "validation")]
    small = ["data.num_workers=0", "data.batch_size=2", "data.num_validation_batches=1", "trainer.num_statistics_batches=1"]
    options = ["--run-dir", folder / "run", "--ours", folder / "ours", "--minutes", "0.001", "--trial-minutes", "0.001"]
    choices = ["--learning-rates", "1e-4,1e-3", "--filters", "2,3", "--corpus", folder / "corpus"]
    script.main([str(word) for word in (*options, *choices, *words, *shards, *small, "vae.latent_dim=8", "vae.dimension=4")])


def test_the_rate_of_latents_is_that_of_mini_and_the_size_near_to_it(script):
    ours = build("vae", script.load_config(["experiment=mini_vae"]).vae)
    sizes = []
    for num_filters in script.FILTERS:
        theirs = build("vae", {"name": "seanet_vae", "num_filters": num_filters})
        assert (theirs.sample_rate, theirs.hop, theirs.latent_dim) == (ours.sample_rate, ours.hop, ours.latent_dim)
        sizes.append(sum(p.numel() for p in theirs.parameters()) / sum(p.numel() for p in ours.parameters()))
    assert 0.8 < sizes[0] < 1 < sizes[1] < 1.2


def test_every_latent_becomes_one_hop_of_audio(seanet):
    posterior = seanet.encode(0.1 * torch.randn(2, 1, 9 * seanet.hop))
    assert posterior.mean.shape == posterior.std.shape == (2, 9, 6)
    assert posterior.std.min() > 0.001 and posterior.std.max() < 0.1  # it starts narrow
    assert seanet.decode(posterior.mean).shape == (2, 1, 9 * seanet.hop)


def test_streaming_is_decoding(seanet):
    latents = torch.randn(1, 12, 6)
    stream = seanet.stream()
    parts = [stream.push(piece) for piece in latents.split([1, 7, 4], dim=1)] + [stream.finish()]
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(parts, dim=-1), seanet.decode(latents), atol=1e-5, rtol=0)


def test_trials_run_and_report_on_a_tiny_corpus(script, folder):
    call(script, folder)
    plan, result = (json.loads((folder / "run" / name).read_text()) for name in ("plan.json", "result.json"))
    assert [(t["num_filters"], t["learning_rate"]) for t in plan["trials"][:2]] == [(2, 1e-4), (2, 1e-3)]
    best_of_rates = min(plan["trials"][:2], key=lambda trial: trial["val_loss"])
    assert (plan["trials"][2]["num_filters"], plan["trials"][2]["learning_rate"]) == (3, best_of_rates["learning_rate"])
    best = min(plan["trials"], key=lambda trial: trial["val_loss"])
    assert (result["num_filters"], result["learning_rate"]) == (best["num_filters"], best["learning_rate"])
    assert result["steps"] == plan["steps"] == read_history(folder / "run" / "history.csv")[-1][0]
    assert result["cpu_seconds"] > 0

    written = (folder / "run" / "export" / "model.safetensors").read_bytes()
    call(script, folder)  # everything is done: nothing is trained again
    assert (folder / "run" / "export" / "model.safetensors").read_bytes() == written

    shutil.copytree(folder / "run", folder / "ours")
    call(script, folder, "--report", "--real", folder / "corpus" / "test", "--limit", "2", "--out", folder / "result.json")
    found = json.loads((folder / "result.json").read_text())
    assert set(found["results"]) == {f"{kind}{task}" for kind in ("", "real ") for task in ("speech", "sound", "music")}
    assert found["results"]["speech"]["stoi"]["ours"]["count"] == 2
    for measures in found["results"].values():  # a VAE is as good as itself
        assert measures["mel"]["difference"]["value"] == 0 < measures["mel"]["ours"]["value"]
    assert found["runs"]["ours"]["steps"] == plan["steps"]


@pytest.mark.parametrize(
    ("measure", "low", "high", "said"),
    [("mel", -0.2, -0.1, "better"), ("mel", 0.1, 0.2, "worse"), ("stoi", 0.1, 0.2, "better"), ("stoi", -0.1, 0.1, "as good")],
)
def test_the_verdict_follows_the_interval_of_the_difference(script, measure, low, high, said):
    verdict = importlib.import_module("vae_report").verdict
    assert said in verdict(measure, {"low": low, "high": high})


@pytest.mark.parametrize("minutes", [0.0001, 3.0, 4.99, 5.0, 43.21])
def test_the_last_step_of_every_length_is_validated(script, minutes):
    steps = script.steps_in(minutes, seconds_per_step=0.51)
    assert steps % (steps // script.num_validations(steps)) == 0
    assert abs(steps * 0.51 - 60 * minutes) < 0.01 * 60 * minutes + 0.51


def test_our_run_must_be_finished_before_its_time_is_taken(script, folder, capsys):
    with pytest.raises(SystemExit):
        script.main(["--run-dir", str(folder / "other"), "--ours", str(folder / "nowhere")])
    assert "not finished" in capsys.readouterr().out
    assert not (folder / "other").exists()
