"""Every mistake in a configuration is one message: what, where (file and key), what is allowed."""

from __future__ import annotations

import pytest

from calm.config import load_config
from calm.errors import ConfigError, UnknownNameError

FILES = {
    "experiment/good.yaml": "groups: {model: ar_flow, backbone: transformer}\n",
    "experiment/bad_group.yaml": "groups: {model: ar_flow, bckbone: transformer}\n",
    "experiment/bad_option.yaml": "groups: {model: ar_flow, backbone: transfromer}\n",
    "experiment/bad_key.yaml": "groups: {model: ar_flow}\ntrainer:\n  max_step: 3\n",
    "experiment/bad_type.yaml": "groups: {model: ar_flow}\ntrainer: {max_steps: many}\n",
    "experiment/bad_yaml.yaml": "groups: {model: ar_flow}\nseed: [1\nname: x\n",
    "experiment/duplicate.yaml": "groups: {model: ar_flow}\nseed: 1\nseed: 2\n",
    "experiment/tag.yaml": "groups: {model: ar_flow}\nname: !!python/object/apply:os.system ['true']\n",
    "experiment/nested.yaml": "groups: {model: ar_flow}\nexperiment: good\n",
    "experiment/resolver.yaml": "groups: {model: ar_flow}\nname: ${oc.decode:x}\n",
    "experiment/reference.yaml": "groups: {model: ar_flow}\nname: ${seed}\n",
    "experiment/list.yaml": "- 1\n- 2\n",
    "backbone/nameless.yaml": "num_layers: 3\n",
    "backbone/misspelt.yaml": "name: transformer\nnum_layer: 3\n",
    "backbone/required.yaml": "name: transformer\nnum_layers: ???\n",
    "backbone/wrong_name.yaml": "name: tranformer\n",
    "data/two.yaml": "sources: [{name: a, urls: runs/a}, {name: b, urls: runs/b}]\n",
    "logger/odd.yaml": "name: wandbb\n",
}

OK = ["experiment=good"]

# words -> what the message must contain
TYPOS: dict[str, tuple[list[str], list[str]]] = {
    "unknown group": (["experiment=good", "backbon=qwen3"], ["'backbon'", "Did you mean 'backbone'", "command line"]),
    "unknown option": ([*OK, "backbone=qwen"], ["'qwen'", "Did you mean 'qwen3'", "command line: backbone", "small"]),
    "unknown settings option": (
        [*OK, "logger=wand"],
        ["'wand'", "Did you mean 'wandb'", "command line: logger", "csv"],
    ),
    "unknown experiment": (["experiment=goood"], ["'goood'", "Did you mean 'good'", "command line: experiment"]),
    "unknown key of a part": (
        [*OK, "backbone.num_layer=3"],
        ["'backbone.num_layer'", "Did you mean 'num_layers'", "command line: backbone.num_layer", "allowed:"],
    ),
    "unknown key of settings": (
        [*OK, "trainer.max_stepss=3"],
        ["'trainer.max_stepss'", "Did you mean 'max_steps'", "command line"],
    ),
    "unknown key of a listed record": (
        [*OK, "curriculum.phases=[{nam: a}]"],
        ["'curriculum.phases[0].nam'", "Did you mean 'name'", "command line"],
    ),
    "unknown key of the run": ([*OK, "seeed=3"], ["'seeed'", "Did you mean 'seed'", "command line"]),
    "wrong type": ([*OK, "trainer.max_steps=many"], ["'trainer.max_steps' cannot be 'many'", "command line", "int"]),
    "wrong type of the run": ([*OK, "seed=often"], ["'seed' cannot be 'often'", "command line: seed", "int"]),
    "fraction for a count": ([*OK, "backbone.num_layers=2.5"], ["cannot be 2.5", "int"]),
    "nothing for a count": ([*OK, "backbone.num_layers="], ["cannot be None", "int"]),
    "wrong element": ([*OK, "optim.betas=[0.9, high]"], ["'optim.betas'", "high", "tuple[float, float]"]),
    "text for a list of records": ([*OK, "curriculum.phases=joint"], ["'curriculum.phases'", "joint"]),
    "scalar for a record": ([*OK, "curriculum.phases=[3]"], ["'curriculum.phases[0]' is 3", "mapping"]),
    "value out of a choice": (
        [*OK, "optim.schedule=cosin"],
        ["'optim.schedule' cannot be 'cosin'", "Did you mean 'cosine'", "constant"],
    ),
    "value out of range": ([*OK, "trainer.max_steps=0"], ["max_steps is 0", "command line: trainer.max_steps"]),
    "number for a group": ([*OK, "backbone=3"], ["'3'", "command line: backbone"]),
    "key below a scalar": ([*OK, "seed.x=3"], ["'seed' cannot be", "command line"]),
    "key of an absent part": ([*OK, "expert.width=3"], ["No expert is chosen", "expert.width", "expert=..."]),
    "missing value": (
        ["experiment=good", "backbone=required"],
        ["'backbone.num_layers' is required", "conf/backbone/required.yaml"],
    ),
    "no model": (["seed=3"], ["No model is chosen", "ar_flow", "experiment=...", "good"]),
    "malformed word": ([*OK, "a b"], ["'a b' is no override", "command line", "key=value"]),
    "word of another tool": ([*OK, "+trainer.max_steps=3"], ["'+trainer.max_steps=3' is no override"]),
    "malformed value": ([*OK, "optim.betas=[1"], ["'optim.betas' cannot be read", "command line"]),
    "a corpus that is not read": (
        [*OK, "data=two", "data.train=data_shards/mine"],
        ["'data.train' is not read", "conf/data/two.yaml lists", "command line: data.train", "data.sources=[]"],
    ),
    "twice": (["experiment=good", "experiment=good"], ["'experiment' is given twice"]),
    "unknown name": ([*OK, "backbone.name=tranformer"], ["'tranformer'", "Did you mean 'transformer'", "command line"]),
    "unknown name in a file": (
        ["experiment=good", "backbone=wrong_name"],
        ["'tranformer'", "Did you mean 'transformer'", "conf/backbone/wrong_name.yaml"],
    ),
    "nameless part file": (["experiment=good", "backbone=nameless"], ["needs `name`", "conf/backbone/nameless.yaml"]),
    "unknown key in a part file": (
        ["experiment=good", "backbone=misspelt"],
        ["Did you mean 'num_layers'", "conf/backbone/misspelt.yaml: backbone.num_layer"],
    ),
    "bad choice in a settings file": (
        ["experiment=good", "logger=odd"],
        ["'wandbb'", "'wandb'", "conf/logger/odd.yaml"],
    ),
    "group in a file": (
        ["experiment=bad_group"],
        ["'bckbone'", "Did you mean 'backbone'", "conf/experiment/bad_group.yaml"],
    ),
    "option in a file": (["experiment=bad_option"], ["Did you mean 'transformer'", "conf/experiment/bad_option.yaml"]),
    "key in a file": (
        ["experiment=bad_key"],
        ["Did you mean 'max_steps'", "conf/experiment/bad_key.yaml: trainer.max_step"],
    ),
    "type in a file": (["experiment=bad_type"], ["'many'", "conf/experiment/bad_type.yaml: trainer.max_steps"]),
    "YAML syntax": (["experiment=bad_yaml"], ["YAML", "conf/experiment/bad_yaml.yaml, line 3"]),
    "key twice in a file": (["experiment=duplicate"], ["duplicate key", "conf/experiment/duplicate.yaml, line 3"]),
    "python tag": (["experiment=tag"], ["os.system", "conf/experiment/tag.yaml, line 2"]),
    "python tag in a word": ([*OK, "name=!!python/name:os.system x"], ["os.system", "command line"]),
    "path tag in a word": ([*OK, "run_dir=!!python/object/apply:pathlib.PosixPath [x]"], ["PosixPath", "command line"]),
    "file within a file": (["experiment=nested"], ["'experiment'", "do not include", "conf/experiment/nested.yaml"]),
    "other resolver": (["experiment=resolver"], ["${oc.decode:x}", "conf/experiment/resolver.yaml", "${oc.env:VAR}"]),
    "reference": (["experiment=reference"], ["${seed}", "conf/experiment/reference.yaml", "${oc.env:VAR}"]),
    "list as a file": (["experiment=list"], ["mapping", "conf/experiment/list.yaml"]),
    "no such config file": (["config=nowhere.yaml"], ["no such config file", "nowhere.yaml"]),
    "unset variable": ([*OK, "name=${oc.env:CALM_TEST_UNSET}"], ["CALM_TEST_UNSET", "command line: name"]),
    "module by path": ([*OK, "imports=[../evil]"], ["'../evil' is no module name", "command line: imports"]),
    "yaml type of its own": ([*OK, "name=!!timestamp x"], ["The value of 'name' cannot be read", "command line"]),
    "unknown import": ([*OK, "imports=[calm_no_such]"], ["calm_no_such", "command line"]),
    "folder as a name": ([*OK, "name=../x"], ["'../x'", "command line: name"]),
}


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {**FILES, "backbone/small.yaml": "name: transformer\n"}.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("mistake", TYPOS)
def test_message_names_place_key_and_what_is_allowed(mistake, conf):
    words, expected = TYPOS[mistake]
    with pytest.raises(ConfigError) as caught:
        load_config(words)
    for part in expected:
        assert part in str(caught.value), f"{part!r} is not in:\n{caught.value}"


def test_the_good_configuration_of_this_table_loads(conf):
    assert load_config(OK).backbone.name == "transformer"


def test_unknown_names_are_an_error_of_their_own(conf):
    with pytest.raises(UnknownNameError):
        load_config([*OK, "backbone=qwen"])
