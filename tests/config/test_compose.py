"""Layers of configuration become one record, in a fixed order of precedence."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from calm.config import load_config, load_config_file, save_config, show, to_yaml
from calm.errors import ConfigError

BASE = ["model=ar_flow", "backbone=transformer"]


@pytest.fixture
def conf(tmp_path, monkeypatch) -> Path:
    """An empty current folder with a `conf` folder of the user's own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf"
    write(folder, "backbone/small.yaml", "name: transformer\ndim: 32\nnum_layers: 3\n")
    write(folder, "backbone/other.yaml", "name: qwen3\nnum_layers: 5\n")
    write(folder, "trainer/short.yaml", "max_steps: 7\nval_every_steps: 3\n")
    write(
        folder,
        "experiment/mine.yaml",
        "groups: {model: ar_flow, backbone: small, trainer: short}\nbackbone: {num_layers: 4}\nseed: 3\n",
    )
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_each_layer_overrides_the_one_below_and_keeps_the_rest(conf):
    config = load_config(["experiment=mine", "trainer.max_steps=9"])
    assert config.backbone.name == "transformer"  # group file
    assert config.backbone.dim == 32  # group file
    assert config.backbone.num_layers == 4  # experiment over group file
    assert config.trainer.max_steps == 9  # command line over group file
    assert config.trainer.val_every_steps == 3  # group file over schema
    assert config.trainer.grad_accum_steps == 1  # schema


def test_the_order_of_words_on_the_command_line_does_not_matter(conf):
    words = ["backbone.num_layers=6", "experiment=mine", "trainer.max_steps=9"]
    assert load_config(words) == load_config(words[::-1])


def test_choosing_an_option_drops_what_lower_layers_set_for_another(conf):
    config = load_config(["experiment=mine", "backbone=other"])
    assert (config.backbone.name, config.backbone.num_layers) == ("qwen3", 5)


def test_another_name_starts_the_part_from_its_own_schema(conf):
    config = load_config(["experiment=mine", "backbone.name=qwen3"])
    default = type(config.backbone)()
    assert config.backbone == default


def test_another_name_starts_a_nested_component_afresh(conf):
    write(conf, "data/mine.yaml", "source: {name: planned, bucket_steps: 3}\n")
    assert load_config([*BASE, "data=mine"]).data.source == {"name": "planned", "bucket_steps": 3}
    assert load_config([*BASE, "data=mine", "data.source.name=streaming"]).data.source == {"name": "streaming"}


def test_a_registered_name_without_a_file_gives_the_schema_defaults(conf):
    config = load_config(["model=ar_flow", "vae=stft_vae"])
    assert config.vae == type(config.vae)()


def test_an_experiment_may_be_named_by_argument_as_in_a_notebook(conf):
    assert load_config(experiment="mine") == load_config(["experiment=mine"])


def test_the_experiment_names_the_run_and_its_folder(conf):
    assert load_config(["experiment=mine"]).name == "mine"
    assert load_config(["experiment=mine"]).run_dir == Path("runs/mine")
    assert load_config(["experiment=mine", "name=again"]).run_dir == Path("runs/again")
    assert load_config(["experiment=mine", "run_dir=/x/y"]).run_dir == Path("/x/y")


def test_unchosen_parts_are_none_and_none_unchooses(conf):
    assert load_config(["experiment=mine"]).expert is None
    assert load_config(["experiment=mine", "expert=speech_ffn", "backbone=none"]).backbone is None


def test_the_users_group_file_comes_before_the_packaged_one(conf):
    packaged = load_config([*BASE, "logger=wandb"]).logger.project
    write(conf, "logger/wandb.yaml", "name: wandb\nproject: mine\n")
    assert load_config([*BASE, "logger=wandb"]).logger.project == "mine" != packaged


def test_conf_dir_replaces_the_current_folders_groups(conf, tmp_path):
    write(tmp_path / "elsewhere", "backbone/small.yaml", "name: transformer\ndim: 48\n")
    assert load_config(["model=ar_flow", "backbone=small"], conf_dir=tmp_path / "elsewhere").backbone.dim == 48


def test_values_take_the_types_of_the_schema(conf):
    config = load_config([*BASE, "optim.learning_rate=1e-3", "optim.betas=[0.8,0.9]", "trainer.devices=2"])
    assert config.optim.learning_rate == 0.001
    assert config.optim.betas == (0.8, 0.9)
    assert config.trainer.devices == "2"


def test_lists_of_records_are_records_and_replace_the_list_below(conf):
    config = load_config([*BASE, "curriculum.phases=[{name: a, until_step: 5}, {name: b}]"])
    assert [phase.name for phase in config.curriculum.phases] == ["a", "b"]
    assert config.curriculum.phases[0].until_step == 5


def test_mappings_merge_key_by_key(conf):
    config = load_config([*BASE, "optim.lr_factors.backbone=0.5", "optim.lr_factors={head: 2}"])
    assert config.optim.lr_factors == {"backbone": 0.5, "head": 2.0}


def test_an_empty_mapping_empties(conf):
    write(conf, "trainer/talk.yaml", "prompts: {speech: [hello]}\n")
    assert load_config([*BASE, "trainer=talk"]).trainer.prompts == {"speech": ["hello"]}
    assert load_config([*BASE, "trainer=talk", "trainer.prompts={}"]).trainer.prompts == {}


def test_the_record_is_frozen_to_the_leaves(conf):
    config = load_config(BASE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.backbone.num_layers = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3


def test_a_written_config_reads_back_equal(conf, tmp_path):
    words = ["experiment=mine", "expert=none", "curriculum.phases=[{name: a, until_step: 5}, {name: b, expert: 'off'}]"]
    config = load_config([*words, "vae_ckpt_path=runs/x", "ckpt_path=last"])
    path = save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config_file(path) == config
    assert load_config([f"config={path}", "seed=9"]) == dataclasses.replace(config, seed=9)
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


def test_a_copied_config_under_another_name_gets_another_folder(conf, tmp_path):
    path = save_config(load_config(["experiment=mine"]), tmp_path / "config.yaml")
    assert load_config([f"config={path}", "name=second"]).run_dir == Path("runs/second")


def test_environment_values_are_used_and_never_written(conf, monkeypatch, tmp_path):
    monkeypatch.setenv("CALM_TEST_SECRET", "s3cret")
    write(conf, "logger/mine.yaml", "name: wandb\nproject: ${oc.env:CALM_TEST_SECRET}\n")
    prompt = "trainer.prompts.speech=[one, '${oc.env:CALM_TEST_SECRET}']"
    config = load_config(["experiment=mine", "logger=mine", prompt])
    assert config.logger.project == "s3cret"
    assert config.trainer.prompts["speech"] == ["one", "s3cret"]
    renamed = dataclasses.replace(config, name="other")
    for text in (to_yaml(config), show(config), to_yaml(renamed)):
        assert "s3cret" not in text and "${oc.env:CALM_TEST_SECRET}" in text
    assert load_config_file(save_config(config, tmp_path / "c.yaml")) == config


def test_environment_values_take_the_type_of_their_key(conf, monkeypatch):
    monkeypatch.setenv("CALM_TEST_STEPS", "12")
    assert load_config([*BASE, "trainer.max_steps=${oc.env:CALM_TEST_STEPS}"]).trainer.max_steps == 12
    assert load_config([*BASE, "trainer.max_steps=${oc.env:CALM_TEST_UNSET,5}"]).trainer.max_steps == 5


def test_show_tells_the_origin_of_each_key(conf):
    lines = show(load_config(["experiment=mine", "trainer.max_steps=9"])).splitlines()
    origin = {line.split("#")[0].strip(): line.split("# ")[1] for line in lines if "#" in line}
    assert origin["dim: 32"] == "conf/backbone/small.yaml"
    assert origin["num_layers: 4"] == "conf/experiment/mine.yaml"
    assert origin["max_steps: 9"] == "command line"
    assert origin["grad_accum_steps: 1"] == "default"


def test_what_show_prints_is_a_config(conf, tmp_path):
    config = load_config(["experiment=mine"])
    assert load_config_file(write(tmp_path, "shown.yaml", show(config))) == config


def test_imports_register_components_before_names_are_looked_up(conf, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, "calm_test_plugin.py", PLUGIN)
    config = load_config(["model=ar_flow", "imports=[calm_test_plugin]", "head=plugged", "head.width=8"])
    assert (config.head.name, config.head.width, config.imports) == ("plugged", 8, ("calm_test_plugin",))
    from calm import registry

    registry._registry["head"].pop("plugged")
    sys.modules.pop("calm_test_plugin")


def test_reading_a_config_that_another_file_does_not_fit_says_so(conf):
    with pytest.raises(ConfigError, match="exclude each other"):
        load_config(["experiment=mine", "config=runs/x/config.yaml"])


PLUGIN = '''
from dataclasses import dataclass
from typing import Literal
from calm.part import Part
from calm.registry import register

@register("head", "plugged")
class Plugged(Part):
    """A head from elsewhere."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["plugged"] = "plugged"
        width: int = 4
'''
