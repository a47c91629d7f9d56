"""A part is a LightningModule in a process that trains, and a plain torch module in one that does not."""

from __future__ import annotations

import copy
import sys

from lightning import LightningModule
from torch import nn

from calm._lightning import trainable
from calm.model.vae_stage import VAEStage
from calm.part import Part
from tests.factory import tiny_generator


class Leaf(Part):
    """Keeps what it was given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)


def test_every_part_that_is_built_where_lightning_is_loaded_is_a_lightning_module():
    model = tiny_generator("ar_flow")
    for part in (model, model.vae, model.backbone, model.head):
        assert isinstance(part, LightningModule) and isinstance(part, Part)


def test_a_joined_part_keeps_its_class_name_weights_and_methods():
    leaf = Leaf(3)
    assert isinstance(leaf, Leaf) and type(leaf).__name__ == "Leaf" and type(leaf) is type(Leaf(4))
    assert leaf.training_step.__func__ is Part.training_step
    assert set(leaf.state_dict()) == {"linear.weight", "linear.bias"}
    assert type(copy.deepcopy(leaf)) is type(leaf)


def test_a_part_is_plain_where_lightning_is_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "lightning")
    assert trainable(VAEStage) is VAEStage
    assert not isinstance(Leaf(3), LightningModule)
