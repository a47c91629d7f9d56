"""The decoder for inference: fewer operations, and a push as one call. A push is a few rows, each operation has its price.

Convolutions take rows as they lie: a depthwise one is a sum over its taps, another one a product; attention reads its
mask out of a table. What a stream carries is a list of tensors, so that the whole push can be TorchScript, which leaves
Python's lock to the thread that makes the next block. The results are those of `calm.vae.decoder`, but for rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calm.scripted import Scripted
from calm.vae.attention import MIN_BLOCK, State, WindowedAttention
from calm.vae.decoder import Decoder
from calm.vae.fused_head import FusedEnvelope, FusedHead, FusedSource, Shapes
from calm.vae.layers import CausalConv, ConvNeXtBlock

__all__ = ["FusedDecoder"]


class FusedDecoder(Decoder):
    """A `Decoder` for inference, made of another's weights, which have other names here."""

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)
        self.channels, self.look_ahead = decoder.channels, decoder.look_ahead
        self.network = _Network(decoder)
        #: latents after which a stream only goes on
        self._settled = decoder.look_ahead + self.network.head.late
        self._scripted: Scripted | None = None

    def script(self) -> FusedDecoder:
        """Make a push one call, from now on that its weights stay as they are; return the decoder."""
        self._scripted = Scripted(self.network)
        return self

    def push(self, latents: Tensor, state: State) -> Tensor:
        past, seen = state[self] if self in state else (self.network.start(latents), 0)
        run = self.network if self._scripted is None else self._scripted
        audio, past = run(latents, list(past), seen)
        # Not further than it matters: streams at different places can be pushed as one batch.
        state[self] = tuple(past), min(seen + latents.shape[1], self._settled)
        return audio

    def rest(self, state: State) -> Tensor:
        past, seen = state.pop(self)
        return self.network.head.flush(past, max(0, seen - self.look_ahead))


class _Network(nn.Module):
    """One push: latents [B, F, C], the tensors of the past, and how many latents came before -> audio, and the past anew."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.shapes: Shapes = []
        self.look_ahead, self.num_envelope = decoder.look_ahead, decoder.envelope.project.in_features
        self.latents = _place(self.shapes, 0, decoder.enter.conv.conv.in_channels)
        self.enter = DenseConv(decoder.enter.conv, self.shapes)
        self.to_frames, self.to_output = decoder.to_frames.project, decoder.to_output.project
        self.num_frames, self.num_outputs = decoder.to_frames.factor, decoder.to_output.factor
        self.layers = nn.ModuleList(_Layer(layer, self.shapes) for layer in decoder.layers)
        self.output_blocks = nn.ModuleList(_Block(block, self.shapes) for block in decoder.output_blocks)
        self.envelope = FusedEnvelope(decoder.envelope)
        self.source = None if decoder.source is None else FusedSource(decoder.source, self.shapes)
        self.head = FusedHead(decoder.head, self.shapes)

    def start(self, latents: Tensor) -> list[Tensor]:
        """The past of a clip that begins."""
        return [latents.new_zeros(len(latents), *shape) for shape in self.shapes]

    def forward(self, latents: Tensor, state: list[Tensor], seen: int) -> tuple[Tensor, list[Tensor]]:
        x = self.enter(latents, state)
        waiting = torch.cat([state[self.latents], latents], dim=1)
        ready = max(0, waiting.shape[1] - self.look_ahead)
        state[self.latents] = waiting.narrow(1, ready, waiting.shape[1] - ready)
        if ready == 0:
            return self.head.nothing(latents), state
        batch = latents.shape[0]
        x = self.to_frames(x.narrow(1, x.shape[1] - ready, ready)).view(batch, ready * self.num_frames, -1)
        for layer in self.layers:
            x = layer(x, state)
        x = self.to_output(x).view(batch, x.shape[1] * self.num_outputs, -1)
        for block in self.output_blocks:
            x = block(x, state)
        cepstrum, pitch = waiting.narrow(1, 0, ready).tensor_split([self.num_envelope], dim=2)
        harmonics: tuple[Tensor, Tensor, Tensor] | None = None
        if self.source is not None:
            harmonics = self.source(pitch, state)
        return self.head(x, self.envelope(cepstrum), harmonics, state, max(0, seen - self.look_ahead)), state


class _Layer(nn.Module):
    """Attention between two blocks."""

    def __init__(self, layer: nn.Module, shapes: Shapes) -> None:
        super().__init__()
        self.first, self.norm, self.second = _Block(layer.first, shapes), layer.norm, _Block(layer.second, shapes)
        self.attention = FusedAttention(layer.attention, shapes)

    def forward(self, x: Tensor, state: list[Tensor]) -> Tensor:
        x = self.first(x, state)
        x = x + self.attention(self.norm(x), state)
        return self.second(x, state)


class _Block(nn.Module):
    """`ConvNeXtBlock`."""

    def __init__(self, block: ConvNeXtBlock, shapes: Shapes) -> None:
        super().__init__()
        self.conv, self.network = DepthwiseConv(block.conv, shapes), block.network
        self.register_buffer("scale", block.scale.detach())

    def forward(self, x: Tensor, state: list[Tensor]) -> Tensor:
        return torch.addcmul(x, self.scale, self.network(self.conv(x, state)))


class DepthwiseConv(nn.Module):
    """`CausalConv` of one channel each: row n is the sum of rows n - ``context`` .. n, each by a weight per channel."""

    def __init__(self, causal: CausalConv, shapes: Shapes) -> None:
        super().__init__()
        self.context, self.place = causal.context, _place(shapes, causal.context, causal.conv.in_channels)
        self.register_buffer("taps", causal.conv.weight.detach().permute(2, 1, 0).contiguous())  # [K, 1, D]
        self.register_buffer("bias", causal.conv.bias.detach())

    def forward(self, x: Tensor, state: list[Tensor]) -> Tensor:
        rows = torch.cat([state[self.place], x], dim=1)
        state[self.place] = rows.narrow(1, x.shape[1], self.context)
        windows = rows.unfold(1, self.context + 1, 1).permute(0, 3, 1, 2)  # [B, K, N, D]
        return (windows * self.taps).sum(dim=1) + self.bias


class DenseConv(nn.Module):
    """`CausalConv` of all channels together: a product with rows n - ``context`` .. n side by side."""

    def __init__(self, causal: CausalConv, shapes: Shapes) -> None:
        super().__init__()
        self.context, self.place = causal.context, _place(shapes, causal.context, causal.conv.in_channels)
        self.register_buffer("weight", causal.conv.weight.detach().flatten(1))  # [D', (D K)]
        self.register_buffer("bias", causal.conv.bias.detach())

    def forward(self, x: Tensor, state: list[Tensor]) -> Tensor:
        rows = torch.cat([state[self.place], x], dim=1)
        state[self.place] = rows.narrow(1, x.shape[1], self.context)
        return F.linear(rows.unfold(1, self.context + 1, 1).flatten(2), self.weight, self.bias)


class FusedAttention(nn.Module):
    """Causal `WindowedAttention`. What a row hears depends on distance alone, so any mask is a part of one table."""

    def __init__(self, attention: WindowedAttention, shapes: Shapes) -> None:
        super().__init__()
        self.num_heads, self.before = attention.num_heads, attention.before
        self.qkv, self.out = attention.qkv, attention.out
        self.block = max(attention.before, MIN_BLOCK)
        dim = attention.out.in_features // self.num_heads
        self.keys, self.values = (_place(shapes, self.num_heads, 0, dim) for _ in range(2))
        # With an axis for the batch: without it torch takes a slower way.
        self.register_buffer("band", attention._band(self.block).detach().unsqueeze(0))  # [1, H, block, before + block]

    def forward(self, x: Tensor, state: list[Tensor]) -> Tensor:
        batch, num_rows = x.shape[0], x.shape[1]
        q, k, v = self.qkv(x).view(batch, num_rows, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        past = state[self.keys].shape[2]
        k, v = torch.cat([state[self.keys], k], dim=2), torch.cat([state[self.values], v], dim=2)
        oldest = max(0, k.shape[2] - self.before)
        kept = k.shape[2] - oldest
        state[self.keys], state[self.values] = k.narrow(2, oldest, kept), v.narrow(2, oldest, kept)
        heard: list[Tensor] = []
        for start in range(0, num_rows, self.block):
            rows = q.narrow(2, start, min(self.block, num_rows - start))
            heard.append(self._attend(rows, k, v, past + start))
        together = heard[0] if len(heard) == 1 else torch.cat(heard, dim=2)
        return self.out(together.transpose(1, 2).reshape(batch, num_rows, -1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, start: int) -> Tensor:
        """What rows q, the first of which is row ``start`` of k and v, hear of those up to ``before`` rows back."""
        first, num_rows = max(0, start - self.before), q.shape[2]
        count = start + num_rows - first
        band = self.band.narrow(2, 0, num_rows).narrow(3, self.before + first - start, count)
        return F.scaled_dot_product_attention(q, k.narrow(2, first, count), v.narrow(2, first, count), attn_mask=band)


def _place(shapes: Shapes, *shape: int) -> int:
    """Add a tensor [B, *shape] to what a stream carries; return its place."""
    shapes.append(shape)
    return len(shapes) - 1
