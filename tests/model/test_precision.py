"""Precisions of generation: packed layers against float32, what is packed, and what a user is told."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from calm.errors import CheckpointError, ConfigError
from calm.generation import AudioCALM
from calm.head.base import TimeEmbedding
from calm.model import packed, precision
from calm.model.packed import PACKED, MixedLinear, PackedLinear, missing
from calm.model.precision import choose_precision, pack_decoder, set_precision
from calm.model.shipped import shipped_models
from tests.factory import tiny_generator

CPU = torch.device("cpu")
#: relative error that a layer may have, and the latents of the first block
LAYER = {"bf16": 0.005, "fp16": 0.0005, "int8": 0.02, "int8_rows": 0.02}
BLOCK = {"bf16": 0.01, "fp16": 0.001, "int8": 0.03, "int8_rows": 0.03}
HERE = [name for name in PACKED if missing(name) is None]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(width_in: int, width_out: int, *, bias: bool) -> nn.Linear:
    layer = nn.Linear(width_in, width_out, bias=bias)
    layer.weight.data = normal(width_out, width_in, seed=1)
    if bias:
        layer.bias.data = normal(width_out, seed=2)
    return layer.requires_grad_(False)


def error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


def test_bf16_is_to_be_had_everywhere():
    assert "bf16" in HERE


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", HERE)
def test_a_packed_layer_computes_the_product_of_its_linear_layer(name, bias):
    layer, x = linear(24, 17, bias=bias), normal(3, 5, 24)
    found = PACKED[name](layer)(x)
    assert found.dtype == torch.float32 and found.shape == (3, 5, 17)
    assert error(found, layer(x)) < LAYER[name]


@pytest.mark.skipif("int8" not in HERE, reason="this CPU has no 8-bit products")
@pytest.mark.parametrize("name", ["int8", "int8_rows"])
def test_the_largest_products_do_not_overflow(name):
    # Every product is as large as it can be, and all have one sign: sums in 16 bits would be cut off.
    layer, x = linear(64, 16, bias=False), torch.ones(4, 64)
    layer.weight.data.fill_(1.0)
    assert error(PACKED[name](layer)(x), layer(x)) < LAYER[name]


@pytest.mark.parametrize("name", HERE)
def test_a_silent_input_gives_the_bias(name):
    layer = linear(24, 17, bias=True)
    assert error(PACKED[name](layer)(torch.zeros(2, 24)), layer.bias.expand(2, -1)) < LAYER[name]


@pytest.mark.parametrize("width", [17, 24, 192])
def test_mixing_the_channels_leaves_the_product_as_it_is(width):
    layer, x = linear(width, 9, bias=True), normal(4, width)
    assert error(MixedLinear(layer, PACKED["bf16"])(x), layer(x)) < 2 * LAYER["bf16"]


@pytest.mark.skipif("int8" not in HERE, reason="this CPU has no 8-bit products")
def test_mixing_tames_a_channel_that_takes_all_the_range():
    layer, x = linear(128, 64, bias=False), normal(4, 128)
    x[:, 5] *= 100
    # The large channel is exact in both; what is lost is the rest.
    rest = x.clone()
    rest[:, 5] = 0
    lost = [(packed_layer(x) - layer(x)).norm() / layer(rest).norm() for packed_layer in both_int8(layer)]
    assert lost[1] < 0.5 * lost[0]


def both_int8(layer: nn.Linear) -> tuple[PackedLinear, PackedLinear]:
    return PACKED["int8"](layer), MixedLinear(layer, PACKED["int8"])


@pytest.mark.parametrize("name", [name for name in HERE if name != "int8"])
def test_a_row_does_not_depend_on_its_neighbours(name):
    layer, row, loud = PACKED[name](linear(64, 32, bias=True)), normal(1, 64), 50 * normal(3, 64, seed=3)
    assert error(layer(torch.cat([row, loud]))[:1], layer(row)) < 1e-6


@pytest.mark.skipif("int8" not in HERE, reason="this CPU has no 8-bit products")
def test_int8_rows_is_the_same_to_the_bit_where_int8_is_not():
    row, loud = normal(1, 64), 50 * normal(3, 64, seed=3)
    for name, same in (("int8_rows", True), ("int8", False)):
        layer = PACKED[name](linear(64, 32, bias=True))
        assert torch.equal(layer(torch.cat([row, loud]))[:1], layer(row)) is same


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("root", ["ar_flow", "head_flow"])
def test_layers_between_are_packed_and_those_at_latents_times_and_ends_are_not(root, name):
    model = set_precision(tiny_generator(root), name)
    kept = {path for path, module in model.named_modules() if type(module) is nn.Linear}
    inner = {path for path, module in model.named_modules() if isinstance(module, PackedLinear)}
    assert not [path for path in kept if path.startswith(("backbone.", "expert."))]
    assert {"audio_in", "head.out", "stop.mlp.1"} <= kept
    times = [module for module in model.modules() if isinstance(module, TimeEmbedding)]
    assert times and all(type(module.mlp[place]) is nn.Linear for module in times for place in (0, 2))
    assert any(path.startswith("backbone.layers.2.behind.mlp.down_proj") for path in inner)
    assert [path for path in inner if path.startswith("expert.")] and [path for path in inner if path.startswith("head.")]
    assert not [path for path in inner if path.startswith(("vae.encoder.", "stop.", "time."))]


@pytest.mark.skipif("fp16" not in HERE, reason="this CPU has no fp16 weights")
@pytest.mark.parametrize("name", HERE)
def test_the_decoder_has_fp16_weights_beside_the_kinds_of_a_cpu_and_float32_beside_bf16(name):
    decoder = set_precision(tiny_generator(), name).vae.decoder
    kinds = {type(module) for module in decoder.modules() if isinstance(module, PackedLinear)}
    assert kinds == (set() if name == "bf16" else {PACKED["fp16"]})
    left = {path for path, module in decoder.named_modules() if type(module) is nn.Linear}
    assert "envelope.project" in left if name == "bf16" else left == {"network.envelope.project"}


@pytest.mark.skipif("fp16" not in HERE, reason="this CPU has no fp16 weights")
def test_a_packed_decoder_sounds_as_in_float32_and_its_stream_is_its_whole_clip():
    vae, latents = tiny_generator().vae, normal(2, 11, 4)
    with torch.no_grad():
        exact = vae.decode(latents)
        whole = pack_decoder(vae).decode(latents)
        stream = vae.stream()
        pieces = [vae.push_streams([stream], [piece])[0] for piece in latents.split(4, dim=1)]
    # 50 dB below the signal, and not nothing: something was packed.
    assert 0 < error(whole, exact) < 10 ** (-50 / 20)
    torch.testing.assert_close(torch.cat([*pieces, stream.finish()], dim=-1), whole, rtol=0, atol=1e-5)


def test_a_vae_whose_cpu_lacks_fp16_weights_keeps_its_decoder(monkeypatch):
    monkeypatch.setattr(precision, "missing", lambda kind: "no such operation")
    vae = tiny_generator().vae
    before = [type(module) for module in vae.modules()]
    assert [type(module) for module in pack_decoder(vae).modules()] == before


@pytest.mark.parametrize("name", HERE)
def test_a_model_is_packed_once_and_says_so_the_second_time(name):
    model = set_precision(tiny_generator(), name)
    for again in ("fp32", name):
        with pytest.raises(ConfigError, match="has its precision already"):
            set_precision(model, again)


@pytest.mark.skipif("fp16" not in HERE, reason="this CPU has no fp16 weights")
def test_two_models_may_share_a_decoder_that_is_packed_and_has_no_graph_any_more():
    vae = pack_decoder(tiny_generator().vae)
    decoder = vae.decoder
    assert pack_decoder(vae).decoder is decoder
    with pytest.raises(CheckpointError, match="packed decoder"):
        vae.whole_decoder()


@pytest.mark.skipif("mini" not in shipped_models(), reason="no model is shipped yet")
@pytest.mark.parametrize("name", HERE)
def test_the_shipped_model_stays_within_the_precisions_error_of_float32(name, mini_block):
    assert 0 < error(first_block(name), mini_block) < BLOCK[name]


@pytest.fixture(scope="module")
def mini_block():
    return first_block("fp32")


def first_block(name: str) -> torch.Tensor:
    model = AudioCALM.from_pretrained("mini", device="cpu", precision=name)
    # Of clips as long as the training's: one of a single frame, which no training had, ends anywhere.
    clips = model.generate(["A dog barks twice."] * 3, task="sound", duration=2.0)
    return torch.stack([clip.latents[0] for clip in clips])


def test_auto_is_fp16_on_a_cpu_that_has_it_and_else_float32(monkeypatch):
    monkeypatch.setattr(precision, "missing", lambda kind: None)
    assert choose_precision("auto", device=CPU) == "fp16"
    assert choose_precision("auto", device=torch.device("cuda")) == "fp32"
    monkeypatch.setattr(precision, "missing", lambda kind: "no such operation")
    assert choose_precision("auto", device=CPU) == "fp32"


def test_a_kind_that_the_cpu_lacks_becomes_bf16_and_the_log_says_why(monkeypatch, caplog):
    class Broken(PackedLinear):
        def forward(self, x):
            raise RuntimeError("Didn't find engine for operation")

    monkeypatch.setitem(packed.PACKED, "int8", Broken)
    missing.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert choose_precision("int8", device=CPU) == "bf16"
    finally:
        missing.cache_clear()
    assert "Precision int8 is not to be had on this CPU (Didn't find engine for operation): bf16 is used" in caplog.text


def test_a_kind_that_computes_nonsense_counts_as_missing(monkeypatch):
    class Wrong(PackedLinear):
        def forward(self, x):
            return torch.zeros(len(x), self.out_features)

    monkeypatch.setitem(packed.PACKED, "fp16", Wrong)
    missing.cache_clear()
    try:
        assert missing("fp16") == "its products are off by 100.0%"
    finally:
        missing.cache_clear()


def test_an_unknown_precision_is_refused_before_a_model_is_loaded():
    with pytest.raises(ConfigError, match=r"Unknown precision 'int4'\. Did you mean 'int8'"):
        AudioCALM.from_pretrained("no such model", device="cpu", precision="int4")


def test_the_products_of_a_cpu_are_refused_on_a_gpu():
    with pytest.raises(ConfigError, match="Precision 'int8' is for a CPU, the model is on 'cuda:0'"):
        choose_precision("int8", device=torch.device("cuda:0"))


def test_packed_weights_are_not_saved_by_mistake():
    with pytest.raises(CheckpointError, match="Packed weights cannot be saved"):
        set_precision(tiny_generator(), "bf16").state_dict()
