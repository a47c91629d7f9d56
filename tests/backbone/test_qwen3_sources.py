"""Where `qwen3` takes its weights from: the hub's own formats, the hub's copy on this disk, and no network."""

from __future__ import annotations

import shutil

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

from calm.backbone.hub import find_folder
from calm.backbone.qwen3_sizes import PUBLISHED
from calm.errors import CheckpointError
from calm.registry import build

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
}
REPO, REVISION = "Qwen/Qwen3-0.6B", "0" * 40


def save(folder, *, tied: bool, shard: str = "5GB"):
    """A small random Qwen3 as the hub has it; returns the reference model."""
    torch.manual_seed(0)
    reference = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SIZES, tie_word_embeddings=tied)).eval()
    reference.save_pretrained(folder, max_shard_size=shard)
    Tokenizer(models.BPE(vocab={chr(97 + i): i for i in range(26)}, merges=[])).save(str(folder / "tokenizer.json"))
    return reference


def qwen3(path, **options):
    return build("backbone", {"name": "qwen3", "path": str(path), **options})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty copy of the hub on this disk, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_on_disk(hub):
    """What a download leaves behind."""
    home = hub / f"models--{REPO.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(REVISION)
    snapshot = home / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    return save(snapshot, tied=True)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_every_weight_is_the_checkpoints_own_in_one_file_or_many_tied_or_not(tmp_path, tied, shard):
    reference = save(tmp_path, tied=tied, shard=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    ours, theirs = dict(qwen3(tmp_path).named_parameters()), dict(reference.model.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_tied_embeddings_are_found_by_the_name_of_the_head_too(tmp_path):
    from safetensors.torch import load_file, save_file

    reference = save(tmp_path, tied=True)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, file)
    assert torch.equal(qwen3(tmp_path).embed_tokens.weight, reference.model.embed_tokens.weight)


def test_a_name_on_the_hub_is_read_from_the_copy_on_this_disk(hub):
    reference = put_on_disk(hub)
    ours = qwen3(REPO)
    assert torch.equal(ours.layers[1].mlp.up_proj.weight, reference.model.layers[1].mlp.up_proj.weight)
    assert ours.tokenizer.encode("abc") == [0, 1, 2]
    assert all(asset.is_file() for asset in ours.assets)


def test_without_a_network_the_message_says_what_to_fetch_and_where_to_put_it(hub):
    with pytest.raises(CheckpointError) as error:
        qwen3(REPO)
    assert REPO in error.value.what and "could not be downloaded" in error.value.what
    assert error.value.where == "backbone.path" and "--local-dir" in error.value.hint


def test_a_copy_that_lacks_its_weights_is_not_taken_for_the_model(hub):
    put_on_disk(hub)
    next(hub.rglob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="not on this disk"):
        qwen3(REPO)


def test_a_local_folder_comes_before_a_name_on_the_hub(hub, tmp_path, monkeypatch):
    put_on_disk(hub)
    local = tmp_path / REPO
    local.mkdir(parents=True)
    theirs = save(local, tied=True)
    with torch.no_grad():
        theirs.model.norm.weight.fill_(7.0)
    theirs.save_pretrained(local)
    monkeypatch.chdir(tmp_path)
    assert (qwen3(REPO).norm.weight == 7).all()


def test_on_the_meta_device_shapes_are_compared_and_nothing_is_read_or_downloaded(tmp_path, hub):
    save(tmp_path / "good", tied=True)
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in qwen3(tmp_path / "good").parameters())
        with pytest.raises(CheckpointError, match="not on this disk") as error:
            qwen3(REPO)
    assert "downloaded" not in error.value.what
    shutil.copy(tmp_path / "good" / "model.safetensors", tmp_path / "model.safetensors")
    wider = transformers.Qwen3Config(**SIZES | {"hidden_size": 48})
    wider.save_pretrained(tmp_path)
    shutil.copy(tmp_path / "good" / "tokenizer.json", tmp_path / "tokenizer.json")
    with torch.device("meta"), pytest.raises(CheckpointError, match="Tensor of shape"):
        qwen3(tmp_path)


@pytest.mark.parametrize(
    ("repo", "parameters"),
    [("Qwen/Qwen3-0.6B", 596_049_920), ("Qwen/Qwen3-1.7B", 1_720_574_976), ("Qwen/Qwen3-4B", 4_022_468_096)],
)
def test_published_sizes_need_no_files_and_are_those_of_transformers_with_tied_embeddings(hub, repo, parameters):
    with torch.device("meta"):
        ours = qwen3(repo, weights="random")
        sizes = PUBLISHED[repo]
        reference = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                hidden_size=sizes.dim,
                intermediate_size=sizes.ffn_dim,
                num_hidden_layers=sizes.num_layers,
                num_attention_heads=sizes.num_heads,
                num_key_value_heads=sizes.num_kv_heads,
                head_dim=sizes.head_dim,
                vocab_size=sizes.vocab_size,
                tie_word_embeddings=True,
            )
        )
    assert {n: p.shape for n, p in ours.named_parameters()} == {n: p.shape for n, p in reference.model.named_parameters()}
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters()) == parameters


def test_a_repository_without_a_tokenizer_is_told_from_a_network_that_fails(tmp_path, monkeypatch):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        find_folder(REPO)
