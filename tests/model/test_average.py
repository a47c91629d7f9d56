"""The mean of models."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from calm.cli import app
from calm.config import load_config
from calm.errors import CheckpointError, InputError
from calm.model.average import average
from calm.model.build import build_model, load_pretrained
from calm.model.checkpoint import save_pretrained

TINY = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]


def write(folder, *, seed, words=()):
    config = load_config([*TINY, *words])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config)
    save_pretrained(folder, model=model, config=config)
    return folder


@pytest.fixture
def two(tmp_path):
    return [write(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]


def test_the_mean_of_a_model_with_itself_is_the_model(two):
    mean, config = average([two[0]] * 3)
    model, own = load_pretrained(two[0])
    assert config == own
    for name, tensor in model.state_dict().items():
        assert torch.equal(mean.state_dict()[name], tensor), name


def test_weights_say_what_each_counts_for(two):
    mean = average(two, weights=(3, 1))[0].state_dict()
    first, second = (load_pretrained(each)[0].state_dict() for each in two)
    differing = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    assert len(differing) > 10
    for name in differing:
        torch.testing.assert_close(mean[name], 0.75 * first[name] + 0.25 * second[name])


def test_settings_of_training_may_differ_and_are_those_of_the_first(tmp_path, two):
    other = write(tmp_path / "c", seed=3, words=["model.history_noise_level=0.5"])
    assert average([other, two[0]])[1].model.history_noise_level == 0.5


def test_models_of_other_parts_have_no_mean(tmp_path, two):
    other = write(tmp_path / "c", seed=3, words=["expert.width_ratio=0.25"])
    with pytest.raises(CheckpointError, match="expert"):
        average([two[0], other])


@pytest.mark.parametrize("weights", [(1,), (1, 0), (1, float("nan")), (1, -1), (1, 2, 3)])
def test_weights_that_fit_no_models_are_refused(two, weights):
    with pytest.raises(InputError, match=r"2 positive numbers"):
        average(two, weights=weights)


def test_the_command_writes_a_model_that_loads_again(tmp_path, two):
    done = CliRunner().invoke(app, ["average", *map(str, two), "-o", str(tmp_path / "mean")])
    assert done.exit_code == 0, done.output
    mean = average(two)[0].state_dict()
    for name, tensor in load_pretrained(tmp_path / "mean")[0].state_dict().items():
        assert torch.equal(mean[name], tensor), name


def test_the_command_leaves_nothing_behind_where_it_fails(tmp_path, two):
    for words in ([str(two[0])], [*map(str, two), "--weights", "1,x"]):
        refused = CliRunner().invoke(app, ["average", *words, "-o", str(tmp_path / "out/mean")], prog_name="calm")
        assert refused.exit_code == 2, refused.output
        assert not (tmp_path / "out/mean").exists() and not list((tmp_path / "out").glob(".*"))
