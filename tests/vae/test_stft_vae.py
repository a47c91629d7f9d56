"""What holds for `stft_vae` in particular."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.errors import ConfigError
from calm.vae.attention import WindowedAttention
from calm.vae.istft import OverlapAdd
from calm.vae.stft_vae import StftVAE
from tests.factory import UNEVEN_VAE

CONFIG = StftVAE.Config(**UNEVEN_VAE | {"attention_window_frames": 4})


def build(**changes) -> StftVAE:
    torch.manual_seed(0)
    return StftVAE(dataclasses.replace(CONFIG, **changes)).eval()


def test_latents_do_not_depend_on_how_long_the_clip_is():
    vae = build()
    audio = 0.1 * torch.randn(1, 1, 60 * vae.hop, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = vae.encode(audio).mean
        part = vae.encode(audio[..., 20 * vae.hop : 50 * vae.hop]).mean
    torch.testing.assert_close(part[:, 10:20], whole[:, 30:40], rtol=0, atol=1e-6)
    assert not torch.allclose(part[:, :1], whole[:, 20:21], atol=1e-4)  # the test sees the context at the cut


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_audio_depends_on_no_latent_beyond_the_look_ahead(look_ahead):
    vae = build(look_ahead_frames=look_ahead)
    latents = torch.randn(1, 12, vae.latent_dim, generator=torch.Generator().manual_seed(1))
    changed = latents.clone()
    changed[:, 8:] += 1
    with torch.no_grad():
        same = (vae.decode(latents) == vae.decode(changed)).flatten()
    # The STFT window of the first changed row reaches half an overlap back.
    first = (8 - look_ahead) * vae.hop - (CONFIG.n_fft - CONFIG.stft_hop) // 2
    assert vae.look_ahead == look_ahead
    assert same[:first].all()
    assert not same[first : first + vae.hop].all()


def test_a_stream_returns_all_audio_that_is_final():
    vae = build(look_ahead_frames=1)
    stream = vae.stream()
    sizes = [stream.push(torch.randn(1, 1, vae.latent_dim)).shape[-1] for _ in range(4)]
    late = (CONFIG.n_fft - CONFIG.stft_hop) // 2
    assert sizes == [0, vae.hop - late, vae.hop, vae.hop]


def test_the_state_of_a_stream_does_not_grow():
    vae = build()
    stream = vae.stream()

    def size() -> int:
        tensors = [t for value in stream._state.values() for t in (value if isinstance(value, tuple) else (value,))]
        return sum(t.untyped_storage().nbytes() for t in tensors if isinstance(t, torch.Tensor))

    sizes = []
    for _ in range(60):
        stream.push(torch.randn(1, 2, vae.latent_dim))
        sizes.append(size())
    assert max(sizes[20:]) == sizes[20]


def test_overlap_add_of_analysed_frames_gives_the_signal_back():
    window = torch.hann_window(64, dtype=torch.float64)
    layer = OverlapAdd(window, hop=16).double()
    signal = torch.randn(1, 2, 20 * 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frames = torch.nn.functional.pad(signal, (24, 24)).unfold(-1, 64, 16)
    state = {}
    audio = torch.cat([layer(frames * window**2, state), layer.flush(state)], dim=-1)
    torch.testing.assert_close(audio, signal, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_rows", [1, 7, 16, 50])
@pytest.mark.parametrize(("before", "after"), [(4, 0), (5, 3), (20, 20)])
def test_windowed_attention_equals_full_attention_under_a_band_mask(num_rows, before, after):
    torch.manual_seed(0)
    layer = WindowedAttention(8, num_heads=2, before=before, after=after).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, num_rows, 8, dtype=torch.float64)
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in layer.qkv(x).chunk(3, dim=-1))
    distance = torch.arange(num_rows) - torch.arange(num_rows)[:, None]
    band = (distance >= -before) & (distance <= after)
    mask = layer.bias[:, (distance + before).clamp(0, before + after)].masked_fill(~band, -torch.inf)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(layer(x), layer.out(expected.transpose(1, 2).flatten(2)), rtol=0, atol=1e-10)


def test_gradients_reach_every_parameter():
    vae = build().train()
    audio = 0.1 * torch.randn(2, 1, 6 * vae.hop)
    posterior = vae.encode(audio)
    (vae.decode(posterior.sample()).square().mean() + posterior.kl()).backward()
    still = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().any()]
    # A bias on keys shifts all scores of a row alike, so softmax makes its gradient a rounding error, not None.
    assert still == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"channels": 3}, "channels"),
        ({"encoder_widths": (8,)}, "encoder_widths"),
        ({"stft_hop": 16}, "stft_hop"),
        ({"n_fft": 60}, "n_fft"),
        ({"num_heads": 3}, "num_heads"),
        ({"look_ahead_frames": -1}, "look_ahead_frames"),
        ({"encoder_kernel_size": 4}, "encoder_kernel_size"),
    ],
)
def test_sizes_that_do_not_fit_name_their_key(changes, key):
    with pytest.raises(ConfigError, match=f"vae.{key}"):
        dataclasses.replace(CONFIG, **changes)
