"""UTMOS: a tiny checkpoint under SpeechMOS's names."""

from __future__ import annotations

import pytest
import torch

from calm.errors import CheckpointError
from calm.scorers.fairseq import encoder_from, rename
from calm.scorers.utmos import UTMOS
from calm.types import Waveform
from tests.scorers.checkpoints import Original, noise, utmos


@pytest.mark.parametrize("seconds", [1.0, 0.93], ids=["odd frames", "even frames"])
def test_a_score_follows_the_published_model(seconds, tmp_path):
    """Saeki et al., 2022, section 2.3: frames beside domain and listener, BLSTM, projection, mean; 2 x + 3."""
    state, clip = utmos(seed=3), noise(seconds, seed=4)
    torch.save(state, tmp_path / "utmos.pt")
    encoder = {name.removeprefix("wav2vec2."): value for name, value in state.items() if name.startswith("wav2vec2.")}
    with torch.no_grad():
        frames = encoder_from(encoder)(clip.audio).last_hidden_state[0]
        inputs = torch.stack([torch.cat([frame, state["domain_emb"][0], state["judge_emb"][0]]) for frame in frames])
        ends = [run(inputs, state, ""), run(inputs.flip(0), state, "_reverse").flip(0)]
        hidden = torch.cat(ends, dim=1) @ state["projection.0.weight"].T + state["projection.0.bias"]
        scores = hidden.clamp(min=0) @ state["projection.2.weight"].T + state["projection.2.bias"]
    assert UTMOS(tmp_path / "utmos.pt").score(clip) == pytest.approx(float(scores.mean()) * 2 + 3, abs=1e-5)


def run(inputs: torch.Tensor, state: dict[str, torch.Tensor], end: str) -> torch.Tensor:
    """One direction of an LSTM, step by step; gates are in, forget, cell, out."""
    w, u, b, c = (state[f"blstm.{name}_l0{end}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = cell = torch.zeros(u.shape[1])
    found = []
    for x in inputs:
        enter, forget, new, leave = (w @ x + b + u @ h + c).chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        h = leave.sigmoid() * cell.tanh()
        found.append(h)
    return torch.stack(found)


def test_the_encoder_is_wav2vec_as_transformers_has_it():
    """The position is added and normalised before the layers, and each layer normalises last."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    state = Original(seed=5).encoder("wav2vec2_base")
    config = Wav2Vec2Config(
        hidden_size=128, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, conv_dim=(24,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, mask_time_prob=0.0,
    )  # fmt: skip
    model = Wav2Vec2Model(config).eval()
    model.load_state_dict({rename(name): value for name, value in state.items() if name != "mask_emb"})
    audio = noise(0.7).audio
    with torch.no_grad():
        torch.testing.assert_close(encoder_from(state)(audio).last_hidden_state, model(audio).last_hidden_state)


def test_a_clip_of_another_rate_and_two_channels_is_scored(tmp_path):
    torch.save(utmos(), tmp_path / "utmos.pt")
    clip = noise(1.0, sample_rate=44_100)
    stereo = Waveform(audio=clip.audio.expand(2, -1), sample_rate=44_100)
    scorer = UTMOS(tmp_path / "utmos.pt")
    assert scorer.score(stereo) == pytest.approx(scorer.score(clip), abs=1e-5)


@pytest.mark.parametrize("name", ["domain_emb", "blstm.bias_hh_l0_reverse", "projection.2.weight", "wav2vec2.layer_norm.bias"])
def test_another_checkpoint_is_refused(name, tmp_path):
    state = utmos()
    del state[name]
    torch.save(state, tmp_path / "utmos.pt")
    with pytest.raises(CheckpointError, match="UTMOS22"):
        UTMOS(tmp_path / "utmos.pt")
