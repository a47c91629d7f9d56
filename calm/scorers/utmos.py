"""UTMOS (Saeki et al., 2022, arXiv 2204.02152): the strong learner of the VoiceMOS challenge, without phonemes.

The checkpoint is ``utmos22_strong_step7459_v1.pt`` of tarepan/SpeechMOS (from sarulab-speech/UTMOS22, MIT), by which
F5-TTS, ZipVoice and codec papers measure it. The listener and the domain are the fixed ones of that file.
"""

from __future__ import annotations

from pathlib import Path

import torch
from einops import repeat
from torch import Tensor, nn

from calm.audio import resample, to_channels
from calm.errors import CheckpointError
from calm.scorers.fairseq import encoder_from, load_exactly
from calm.scorers.hub import load_state
from calm.types import Waveform

__all__ = ["UTMOS", "UTMOS_FILES"]

SAMPLE_RATE = 16_000
UTMOS_FILES = ("mos/utmos22_strong_step7459_v1.pt|utmos22_strong_step7459_v1.pt",)
ENCODER = "wav2vec2."


class UTMOS(nn.Module):
    """Waveform -> predicted mean opinion score, 1 to 5 about.

    Raises CheckpointError where the file is not such a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        state = load_state(path)
        encoder = {name.removeprefix(ENCODER): value for name, value in state.items() if name.startswith(ENCODER)}
        rest = {name: value for name, value in state.items() if not name.startswith(ENCODER)}
        try:
            context = torch.cat([rest.pop("domain_emb"), rest.pop("judge_emb")], dim=-1)[0]
            width, hidden = rest["blstm.weight_ih_l0"].shape[1], rest["blstm.weight_hh_l0"].shape[1]
            middle = rest["projection.0.weight"].shape[0]
            self.encoder = encoder_from(encoder)
            self.register_buffer("context", context.float())
            self.blstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
            self.projection = nn.Sequential(nn.Linear(2 * hidden, middle), nn.ReLU(), nn.Linear(middle, 1))
            load_exactly(self.blstm, _below("blstm.", rest), what="LSTM")
            load_exactly(self.projection, _below("projection.", rest), what="projection")
        except (KeyError, CheckpointError) as error:
            what = getattr(error, "what", f"no {error}")
            raise CheckpointError(f"This is no UTMOS22 checkpoint of SpeechMOS: {what}", where=path) from None
        self.eval()

    @torch.no_grad()
    def score(self, clip: Waveform) -> float:
        """Score a clip of any rate and channels, at least 25 ms."""
        audio = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].float()
        return float(self(audio.to(self.context.device)))

    def forward(self, audio: Tensor) -> Tensor:
        """Samples [S] at 16 kHz -> score []."""
        frames = self.encoder(audio[None]).last_hidden_state  # [1, F, D]
        context = repeat(self.context, "c -> 1 f c", f=frames.shape[1])
        found, _ = self.blstm(torch.cat([frames, context], dim=-1))
        return self.projection(found).mean() * 2 + 3


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
