"""The mark in files that users get: written by default, said in the record, and reported by detection."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from calm import AudioCALM, audio
from calm.safety import ProvenanceSettings, detect, publish, stamp
from calm.safety.marks import find_mark
from calm.types import Waveform


def published(path: Path, waveform: Waveform, **settings: object) -> Path:
    origin = stamp(model="mini", task="sound", seed=1, prompt="rain")
    return publish(path, waveform, provenance=origin, settings=ProvenanceSettings(**settings)).path


@pytest.fixture(scope="module")
def generated() -> Waveform:
    made = AudioCALM.from_pretrained("mini").generate("heavy rain", task="sound", duration=4, seed=3)
    return made[0].waveform


@pytest.mark.parametrize("extension", ["wav", "mp3", "opus"])
def test_what_mini_makes_is_published_with_its_mark(tmp_path: Path, generated: Waveform, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}", generated)
    found = {finding.says.get("name", finding.part): finding for finding in detect(path).findings}
    assert found["spread"].state == "intact" and "'spread' found" in found["spread"].message
    assert found["tag"].says["watermark"] == found["sidecar"].says["watermark"] == "spread"


def test_the_mark_stays_where_all_else_is_lost(tmp_path: Path, generated: Waveform) -> None:
    bare = audio.write(tmp_path / "b.ogg", audio.read(published(tmp_path / "a.wav", generated)), provenance=None)
    assert detect(bare).state == "intact"
    assert detect(audio.write(tmp_path / "c.ogg", generated, provenance=None)).state == "nothing"


def test_a_mark_that_was_turned_off_is_said_and_not_found(tmp_path: Path, generated: Waveform) -> None:
    path = published(tmp_path / "a.wav", generated, parts=("sidecar",))
    findings = [finding for finding in detect(path).findings if finding.part == "watermark"]
    assert audio.read_provenance(path).watermark == "turned off by flag"
    assert all(finding.state == "absent" for finding in findings)


@pytest.mark.parametrize("samples", [1, 16000])
def test_silence_cannot_be_marked_and_the_record_says_so(tmp_path: Path, samples: int) -> None:
    path = published(tmp_path / "a.wav", Waveform(audio=torch.zeros(1, samples), sample_rate=16000))
    assert audio.read_provenance(path).watermark == "not possible: too short, or silent"
    assert "though the tag names it" not in str(detect(path).findings)


def test_a_stream_that_is_sent_has_the_mark_of_the_file(generated: Waveform) -> None:
    mark = find_mark("spread")
    stream = mark.stream(sample_rate=generated.sample_rate)
    pieces = [stream.push(piece) for piece in generated.audio.split(3200, dim=1)]
    sent = torch.cat([*pieces, stream.finish()], dim=1)
    torch.testing.assert_close(sent, mark.embed(generated).audio, atol=1e-5, rtol=0)
