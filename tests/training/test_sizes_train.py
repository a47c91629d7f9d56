"""The large experiments, with their own choices and narrow parts: each builds at its size, and learns when it is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from calm.config import load_config
from calm.doctor.parameters import count_parameters
from calm.model.build import build_outline
from calm.model.checkpoint import without_weights
from calm.training.fit import fit
from calm.training.history import read_history
from tests.data.clips import make_shards

CONF = Path(__file__).resolve().parents[2] / "conf"
#: trained parameters by part, from the shapes alone. Qwen3's: 1,720,574,976 and 596,049,920, embeddings tied.
#: experts: 3 matrices x layers x width x half of the FFN's
PARAMETERS = {
    "audiocalm_1p7b": {"backbone+text": 1_720_574_976, "expert": 3 * 28 * 2048 * 3072, "all": 2_277_670_017},
    "audiocalm_0p6b": {"backbone+text": 596_049_920, "expert": 3 * 28 * 1024 * 1536, "all": 735_663_233},
    "audiocalm_300m": {"backbone+text": 201_627_648, "expert": 3 * 16 * 1024 * 1536, "all": 284_617_857},
    "audiocalm_100m": {"backbone+text": 75_912_064, "expert": 3 * 11 * 768 * 1152, "all": 109_451_009},
}
QWEN = {"audiocalm_1p7b", "audiocalm_0p6b"}
NARROW_VAE = [
    "vae.encoder_widths=[4,4,8,16]", "vae.encoder_dilations=[1]", "vae.decoder_width=16", "vae.output_width=16",
    "vae.num_heads=2", "vae.num_encoder_layers=1", "vae.num_aggregator_layers=1", "vae.num_decoder_layers=1",
    "vae.num_output_blocks=1",
]  # fmt: skip
NARROW_BODY = ["backbone.dim=32", "backbone.num_layers=2", "backbone.num_heads=4", "backbone.num_kv_heads=2", "backbone.ffn_dim=64"]
ON_A_CPU = [
    "trainer.accelerator=cpu", "trainer.devices=1", "trainer.strategy=auto", "trainer.max_steps=2", "trainer.val_every_steps=2",
    "trainer.save_every_steps=2", "trainer.log_every_steps=1", "trainer.num_statistics_batches=1", "trainer.prompts={}",
    "logger=csv", "data.num_workers=0", "data.batch_size=4", "data.num_validation_batches=1",
    "data.source={name: planned, bucket_steps: 1}",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("qwen3")
    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.Qwen3Config(**sizes, num_key_value_heads=2, head_dim=16, vocab_size=300, tie_word_embeddings=True)
    torch.manual_seed(0)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def load(experiment, shards, run_dir, *words):
    data = [f"data.train={shards}", f"data.validation={shards}", f"run_dir={run_dir}"]
    return load_config([f"experiment={experiment}", *data, *NARROW_VAE, *ON_A_CPU, *words], conf_dir=CONF)


@pytest.fixture(scope="module")
def vae_run(shards, tmp_path_factory):
    words = ["model.crop_seconds=0.3", "data.crop_seconds=0.3", "adversary.width=4", "model.adversary_start_step=1"]
    return fit(load("audiocalm_vae_44k", shards, tmp_path_factory.mktemp("vae"), *words), progress=False)


@pytest.mark.parametrize("experiment", PARAMETERS)
def test_an_experiment_has_the_parameters_that_its_shapes_say(experiment):
    config = without_weights(load_config([f"experiment={experiment}"], conf_dir=CONF))
    sizes = count_parameters(build_outline(config))
    assert sizes.by_part["backbone"] + sizes.by_part["text"] == PARAMETERS[experiment]["backbone+text"]
    assert sizes.by_part["expert"] == PARAMETERS[experiment]["expert"]
    assert sizes.trained == PARAMETERS[experiment]["all"]


def test_the_vae_of_44_1_khz_learns_against_its_adversary_from_the_analysis_of_the_data(vae_run):
    names = {name for _, _, name, value in read_history(vae_run.run_dir / "history.csv") if value > 0}
    assert {"train/mel", "train/adversarial", "train/discriminator", "val/mel/music"} <= names
    weights = load_file(vae_run.export / "model.safetensors")
    assert weights["vae.latent_mean"].shape == (64,) and (weights["vae.latent_std"] != 1).all()


@pytest.mark.parametrize("experiment", PARAMETERS)
def test_an_experiment_learns_with_narrow_parts_and_leaves_a_pretrained_body_at_rest_at_first(
    experiment, shards, vae_run, qwen3, tmp_path
):
    body = [f"backbone.path={qwen3}"] if experiment in QWEN else NARROW_BODY
    words = [f"vae_ckpt_path={vae_run.export}", *body, "data.max_frames_per_batch=64"]
    run = fit(load(experiment, shards, tmp_path / "run", *words), progress=False)
    losses = {name: value for _, _, name, value in read_history(run.run_dir / "history.csv")}
    assert losses["train/loss"] > 0 and losses["val/flow"] > 0
    weights = load_file(run.export / "model.safetensors")
    assert weights["head.out.weight"].any() and not weights["expert.ffns.0.down_proj.weight"].any()
    if experiment in QWEN:
        pretrained = load_file(qwen3 / "model.safetensors")
        for name in ("embed_tokens.weight", "layers.1.mlp.up_proj.weight", "norm.weight"):
            assert torch.equal(weights[f"backbone.{name}"], pretrained[f"model.{name}"])
