"""LoRA: a no-op at first, nothing else is trained, and what is merged computes the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from calm.config import load_config
from calm.errors import ConfigError
from calm.model.build import load_pretrained
from calm.model.checkpoint import save_pretrained
from calm.model.lora import LoRALinear, adapt, merged_state
from calm.model.lora_config import LoRAConfig
from tests.factory import HEADS, tiny_batch, tiny_generator

LORA = LoRAConfig(name="lora", rank=2, alpha=8.0)


def losses(root):
    return root.losses(tiny_batch([0, 1, 2], reference_frames=4), generator=torch.Generator().manual_seed(1))


def with_values(root):
    """LoRA matrices as after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in root.named_parameters():
        if name.endswith("lora_up"):
            parameter.data.normal_(std=0.3, generator=generator)
    return root


@pytest.mark.parametrize("model", HEADS)
def test_fresh_matrices_change_nothing_and_trained_ones_do(model):
    before = losses(tiny_generator(model))["loss"]
    root = adapt(tiny_generator(model), LORA)
    torch.testing.assert_close(losses(root)["loss"], before, rtol=0, atol=0)
    assert not torch.allclose(losses(with_values(root))["loss"], before)


def test_only_the_matrices_and_the_chosen_parts_are_trained():
    root = adapt(tiny_generator(), LoRAConfig(name="lora", targets=("q_proj",), trained_parts=("head",)))
    losses(root.train())["loss"].backward()
    trained = {name for name, p in root.named_parameters() if p.grad is not None}
    assert trained == {name for name, p in root.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"backbone", "head"}
    assert all("q_proj.lora_" in name for name in trained if name.startswith("backbone"))


@pytest.mark.parametrize("model", HEADS)
def test_the_merged_model_computes_the_same(model):
    root, plain = with_values(adapt(tiny_generator(model), LORA)), tiny_generator(model)
    plain.load_state_dict(merged_state(root), strict=True)
    positions = torch.arange(12)[None].expand(2, -1)
    x = torch.randn(2, 12, root.backbone.dim, generator=torch.Generator().manual_seed(0))
    hidden, merged = (each.backbone(x, positions=positions) for each in (root, plain))
    torch.testing.assert_close(merged, hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(losses(plain)["loss"], losses(root)["loss"], rtol=1e-5, atol=0)


def test_an_export_is_merged_and_loads_as_a_model_without_lora(tmp_path):
    parts = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=none", "lora=lora"]
    from calm.model.build import build_model

    config = load_config(parts)
    root = with_values(build_model(config))
    assert isinstance(root.backbone.layers[0].mlp.up_proj, LoRALinear)
    save_pretrained(tmp_path / "out", model=root, config=config)
    loaded, written = load_pretrained(tmp_path / "out")
    assert written.lora.name == "none"
    assert not any("lora" in name for name in load_file(tmp_path / "out/model.safetensors"))
    weight = root.backbone.layers[0].mlp.up_proj.weight
    assert not torch.equal(loaded.backbone.layers[0].mlp.up_proj.weight, weight)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": ("q_prj",)}, "Did you mean 'q_proj'"),
        ({"trained_parts": ("heads",)}, "Did you mean 'head'"),
    ],
)
def test_a_name_that_is_not_there_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        adapt(tiny_generator(), LoRAConfig(name="lora", **options))


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}, {"targets": ()}])
def test_impossible_choices_are_refused(options):
    with pytest.raises(ConfigError, match="lora"):
        LoRAConfig(name="lora", **options)
