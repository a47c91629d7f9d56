"""Audio that is sent while it grows: what its record says is true of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calm import audio
from calm.safety import ProvenanceSettings, StreamedAudio, detect, open_mark, stamp
from calm.safety.sidecar import read_sidecar, sidecar_path
from calm.types import Waveform
from tests.scorer_models import tone

SETTINGS = ProvenanceSettings()


def streamed(path: Path, samples: torch.Tensor) -> dict:
    """Send samples [1, S] at 16 kHz as pcm, marked; keep bytes and record; return what the record says."""
    mark = open_mark(SETTINGS, sample_rate=16_000, channels=1)
    provenance = stamp(model="m", task="sound", seed=1, prompt="p", model_sha256="0" * 64, config_sha256="0" * 64)
    one = StreamedAudio(
        provenance, format="pcm", sample_rate=16_000, channels=1, settings=SETTINGS, mark=mark, record="somewhere"
    )
    marked = torch.cat([mark.push(samples), mark.finish()], dim=1)
    pcm = np.round(marked.T.numpy() * 32767).astype(np.int16)
    one.update(pcm, pcm.tobytes())
    record = one.sidecar()
    path.write_bytes(pcm.tobytes())
    sidecar_path(path).write_bytes(record)
    return read_sidecar(record).record


@pytest.mark.parametrize(
    ("samples", "said"),
    [(tone(300, seconds=1.0).audio, "spread"), (torch.zeros(1, 16_000), "not possible: too short, or silent")],
    ids=["sound", "silence"],
)
def test_the_record_claims_a_mark_only_where_there_is_one(tmp_path, samples, said):
    assert streamed(tmp_path / "a.pcm", samples)["watermark"] == said


def test_raw_samples_beside_their_record_are_intact(tmp_path):
    streamed(tmp_path / "a.pcm", tone(300).audio)
    assert detect(tmp_path / "a.pcm").state == "intact"


def test_a_mark_alone_is_by_nobody_that_is_known(tmp_path):
    rng = torch.Generator().manual_seed(0)
    clip = tone(300, seconds=4.0)
    noisy = torch.randn(clip.audio.shape, generator=rng) * 0.05 + clip.audio
    mark = open_mark(SETTINGS, sample_rate=16_000, channels=1)
    marked = torch.cat([mark.push(noisy), mark.finish()], dim=1)
    audio.write(tmp_path / "a.wav", Waveform(audio=marked, sample_rate=16_000), provenance=None)
    report = detect(tmp_path / "a.wav")
    assert (report.state, report.known) == ("intact", False)
