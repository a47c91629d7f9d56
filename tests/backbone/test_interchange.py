"""What every backbone must do, and parity of `qwen3` with the reference implementation."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from calm.errors import CheckpointError, ConfigError
from calm.registry import build
from calm.sequence import Rows, block_rows, prefix_rows

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "vocab_size": 300,
    "max_position_embeddings": 512,
    "rope_theta": 1e6,
}


@pytest.fixture(scope="module")
def qwen3_folder(tmp_path_factory):
    """A small random Qwen3 checkpoint in Hugging Face's own format, and the reference model."""
    import transformers
    from tokenizers import Tokenizer, models

    folder = tmp_path_factory.mktemp("qwen3")
    torch.manual_seed(0)
    reference = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SIZES)).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    reference.save_pretrained(folder)
    Tokenizer(models.BPE(vocab={chr(97 + i): i for i in range(26)}, merges=[])).save(str(folder / "tokenizer.json"))
    return folder, reference


@pytest.fixture(params=["transformer", "qwen3"])
def backbone(request):
    torch.manual_seed(0)
    if request.param == "transformer":
        sizes = {"dim": 32, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 48}
        return build("backbone", {"name": "transformer", **sizes}).double()
    folder, _ = request.getfixturevalue("qwen3_folder")
    return build("backbone", {"name": "qwen3", "path": str(folder)}).double()


def causal(length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()[None]


def test_it_keeps_the_shape_and_states_its_sizes(backbone):
    x = torch.randn(2, 5, backbone.dim, dtype=torch.float64)
    assert backbone(x, positions=torch.arange(5).expand(2, 5)).shape == x.shape
    assert backbone.embed_text(torch.tensor([[1, 2]])).shape == (1, 2, backbone.dim)
    assert backbone.tokenizer.encode("a")


def test_it_obeys_the_mask_it_is_given(backbone):
    x = torch.randn(1, 6, backbone.dim, dtype=torch.float64)
    changed = x.clone()
    changed[:, 4] += 1
    positions = torch.arange(6)[None]
    before, after = (backbone(v, positions=positions, mask=causal(6)) for v in (x, changed))
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=1e-12)
    assert (after[:, 4:] != before[:, 4:]).any()


def test_only_relative_positions_matter(backbone):
    x, positions = torch.randn(1, 6, backbone.dim, dtype=torch.float64), torch.arange(6)[None]
    near, far = (backbone(x, positions=positions + offset, mask=causal(6)) for offset in (0, 1000))
    torch.testing.assert_close(far, near, rtol=0, atol=1e-9)


def test_the_cache_grows_and_equals_one_pass(backbone):
    x, positions = torch.randn(1, 9, backbone.dim, dtype=torch.float64), torch.arange(9)[None]
    whole = backbone(x, positions=positions, mask=causal(9))
    cache = backbone.new_cache(1, capacity=2)
    num = torch.tensor([3])
    prefix = prefix_rows(num_reference=num * 0, num_text=num, reference_length=0, text_length=3)
    with torch.no_grad():
        pieces = [backbone(x[:, :3], positions=positions[:, :3], mask=causal(3), cache=cache)]
        cache.commit_prefix(prefix)
        for i in range(3, 9):
            one = block_rows(start=num, first_block=i - 3, num_blocks=1, block_size=1)
            backbone(torch.randn_like(x[:, :1]), positions=positions[:, i : i + 1], cache=cache)  # scratch: forgotten
            pieces.append(backbone(x[:, i : i + 1], positions=positions[:, i : i + 1], cache=cache))
            cache.commit_block(one)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)
    assert len(cache) == len(cache.rows) == 9 and isinstance(cache.rows, Rows)


def test_a_residual_meets_every_layer_with_the_normed_input_of_the_ffn(backbone):
    seen = []

    def residual(layer, normed, hidden):
        seen.append((layer, normed.shape, hidden.shape))
        return hidden

    x, positions = torch.randn(1, 4, backbone.dim, dtype=torch.float64), torch.arange(4)[None]
    plain = backbone(x, positions=positions)
    assert torch.equal(backbone(x, positions=positions, residual=residual), plain)
    assert [layer for layer, *_ in seen] == list(range(backbone.num_layers))
    assert all(a == b == x.shape for _, a, b in seen)


def test_qwen3_hidden_states_equal_those_of_transformers(qwen3_folder):
    folder, reference = qwen3_folder
    ours = build("backbone", {"name": "qwen3", "path": str(folder)}).eval()
    ids = torch.randint(0, 300, (2, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference.model(input_ids=ids).last_hidden_state
        actual = ours(ours.embed_text(ids), positions=torch.arange(11).expand(2, 11), mask=causal(11).expand(2, -1, -1))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_qwen3_takes_the_first_layers_and_random_weights_by_name(qwen3_folder):
    folder, reference = qwen3_folder
    short = build("backbone", {"name": "qwen3", "path": str(folder), "num_layers": 2})
    assert short.num_layers == 2
    assert torch.equal(short.layers[1].mlp.up_proj.weight, reference.model.layers[1].mlp.up_proj.weight)
    fresh = build("backbone", {"name": "qwen3", "path": str(folder), "weights": "random"})
    assert not torch.equal(fresh.layers[0].mlp.up_proj.weight, reference.model.layers[0].mlp.up_proj.weight)


def test_an_exported_qwen3_model_does_not_need_the_folder_it_came_from(qwen3_folder, tmp_path):
    from calm.config import load_config
    from calm.generation import AudioCALM
    from calm.model.build import build_model
    from calm.model.checkpoint import save_pretrained

    origin = tmp_path / "snapshot"
    shutil.copytree(qwen3_folder[0], origin)
    words = ["model=ar_flow", "vae=tiny", "backbone=qwen3", f"backbone.path={origin}", "head=rectified_flow"]
    config = load_config([*words, "name=q"])
    model = build_model(config)
    save_pretrained(tmp_path / "export", model=model, config=config)
    shutil.rmtree(origin)
    loaded = AudioCALM.from_pretrained(tmp_path / "export", device="cpu").model
    assert torch.equal(loaded.backbone.layers[0].mlp.up_proj.weight, model.backbone.layers[0].mlp.up_proj.weight)
    assert loaded.tokenizer.encode("abc") == model.tokenizer.encode("abc")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "config.json").write_text("{}"), "not a Qwen3 configuration"),
        (lambda d: (d / "model.safetensors").unlink(), "No weights"),
        (lambda d: _edit(d, hidden_size=64), "Tensor of shape"),
        (lambda d: _edit(d, num_hidden_layers=5), "tensors are missing"),
    ],
)
def test_a_folder_that_is_not_a_qwen3_checkpoint_is_refused_with_a_reason(qwen3_folder, tmp_path, prepare, said):
    for file in qwen3_folder[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    prepare(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        build("backbone", {"name": "qwen3", "path": str(tmp_path)})


def _edit(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="do not divide"):
        build("backbone", {"name": "transformer", "dim": 30, "num_heads": 4})
