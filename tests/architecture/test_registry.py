"""Every component says in one line what it is, and carries a frozen record of its choices."""

from __future__ import annotations

import dataclasses

import pytest

import calm
from calm import registry
from tests.architecture.sources import CALM

ENTRIES = [(kind, name) for kind, names in calm.components().items() for name in names if "." not in name]

#: what the first release promises; more may be added
PROMISED = {
    "vae": {"stft_vae", "encodec"},
    "adversary": {"stft_disc", "encodec_msstftd"},
    "backbone": {"transformer", "qwen3"},
    "head": {"rectified_flow", "mlp"},
    "expert": {"speech_ffn"},
    "model": {"vae_stage", "ar_flow", "head_flow"},
}


def test_the_promised_components_are_there():
    missing = {kind: names - set(registry.names(kind)) for kind, names in PROMISED.items()}
    assert not {kind: names for kind, names in missing.items() if names}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_component_describes_itself_in_one_line(kind, name):
    line = registry.describe(kind, name)
    assert line.endswith(".") and len(line) <= 100, line


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_component_has_a_frozen_config_with_its_name_and_a_default_for_every_choice(kind, name):
    config = registry.lookup(kind, name).Config
    assert config.__dataclass_params__.frozen
    assert config().name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().name = "other"


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_component_lives_in_one_file_of_its_kind(kind, name):
    module = registry.lookup(kind, name).__module__
    assert module.startswith(f"{registry.KINDS[kind]}.") and module.count(".") == 2
    assert (CALM.parent / f"{module.replace('.', '/')}.py").is_file()
