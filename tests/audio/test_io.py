from __future__ import annotations

import errno
import io
import json
import os
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from calm.audio import Provenance, encode, info, read, read_provenance, write, write_bytes
from calm.audio.io import FORMATS
from calm.errors import DataError, InputError
from calm.types import Waveform

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"
RECORD = Provenance(
    generator="AudioCALM 0.1.0", model="mini ü", task="speech", seed=7, created="2026-01-02T03:04:05+00:00"
)


def tone(*, channels: int = 1, seconds: float = 0.25, sample_rate: int = 16000) -> Waveform:
    time = torch.arange(int(seconds * sample_rate)) / sample_rate
    rows = [0.4 * torch.sin(2 * torch.pi * 220 * (1 + a) * time) for a in range(channels)]
    return Waveform(audio=torch.stack(rows), sample_rate=sample_rate)


def wav_bytes(samples: np.ndarray, *, subtype: str = "PCM_16", sample_rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def with_claimed_frames(flac: bytes, frames: int) -> bytes:
    """Change the 36-bit number of frames in a FLAC file's STREAMINFO block."""
    data = bytearray(flac)
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36
    data[18:26] = (fields | frames).to_bytes(8, "big")
    return bytes(data)


@pytest.mark.parametrize("extension", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_formats_return_the_written_samples_to_16_bits(tmp_path: Path, extension: str, channels: int) -> None:
    waveform = tone(channels=channels)
    path = write(tmp_path / f"a.{extension}", waveform, provenance=None)
    back = read(path)
    assert back.sample_rate == 16000 and back.audio.dtype == torch.float32
    assert back.audio.shape == waveform.audio.shape
    torch.testing.assert_close(back.audio, waveform.audio, atol=1 / 32767, rtol=0)


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_every_format_keeps_length_rate_and_provenance(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"a.{extension}", tone(seconds=0.5), provenance=RECORD)
    header = info(path)
    assert (header.frames, header.sample_rate, header.channels) == (8000, 16000, 1)
    assert header.seconds == 0.5
    assert read(path.read_bytes()).audio.shape == (1, 8000)
    assert read_provenance(path) == RECORD


def test_a_long_vorbis_file_can_be_written() -> None:
    assert info(encode(tone(seconds=60, channels=2), format="ogg", provenance=None)).seconds == 60


def test_audio_without_a_record_has_no_provenance(tmp_path: Path) -> None:
    assert read_provenance(write(tmp_path / "a.wav", tone(), provenance=None)) is None


def test_provenance_has_no_default(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="provenance"):
        write(tmp_path / "a.wav", tone())  # type: ignore[call-arg]


def test_a_record_of_a_later_version_is_still_read_and_other_comments_are_not() -> None:
    later = json.dumps({**json.loads(RECORD.to_json()), "invented_later": 1})
    assert Provenance.from_json(later) == RECORD
    for text in ("", "recorded in my kitchen", "[]", "3", '{"audiocalm": 2}', '{"audiocalm": 1}', "[" * 100_000):
        assert Provenance.from_json(text) is None


def test_samples_beyond_full_scale_are_clipped_not_wrapped() -> None:
    loud = Waveform(audio=torch.tensor([[-3.0, 0.0, 3.0]]), sample_rate=16000)
    back = read(encode(loud, format="wav", provenance=None))
    torch.testing.assert_close(back.audio, torch.tensor([[-1.0, 0.0, 1.0]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_an_excerpt_equals_the_slice_of_the_whole(start: float) -> None:
    data = encode(tone(seconds=1, channels=2), format="flac", provenance=None)
    first = round(start * 16000)
    excerpt = read(data, start_seconds=start, max_seconds=0.3)
    assert torch.equal(excerpt.audio, read(data).audio[:, first : first + 4800])


def test_an_excerpt_past_the_end_returns_what_is_there() -> None:
    assert read(encode(tone(), format="wav", provenance=None), max_seconds=99).audio.shape == (1, 4000)


@pytest.mark.parametrize("start", [-0.1, 0.25, 9.0])
def test_an_excerpt_that_starts_outside_is_refused(start: float) -> None:
    with pytest.raises(DataError, match=r"0 to 0\.250 s"):
        read(encode(tone(), format="wav", provenance=None), start_seconds=start)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such audio file[^$]*gone\.wav"):
        read(tmp_path / "gone.wav")


def test_a_dash_is_not_the_standard_input() -> None:
    with pytest.raises(DataError, match="No such audio file"):
        info("-")


def test_a_folder_is_not_audio(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(tmp_path)


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.mp3", "text.raw", "text"])
def test_a_text_file_is_refused_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("this is not audio\n" * 50)
    with pytest.raises(DataError, match="cannot be decoded") as error:
        read(path)
    assert name in str(error.value)


def test_zero_bytes_and_zero_frames_are_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(DataError, match="0 bytes"):
        read(empty)
    with pytest.raises(DataError, match=r"(?s)0 frames.*shard\.tar: k1"):
        info(wav_bytes(np.zeros((0, 1))), where="shard.tar: k1")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_frame(value: float) -> None:
    samples = np.zeros((200, 2), dtype=np.float32)
    samples[123, 1] = value
    with pytest.raises(DataError, match=r"(?s)frame 123.*shard\.tar: k2"):
        read(wav_bytes(samples, subtype="FLOAT"), where="shard.tar: k2")


def test_a_header_that_claims_2_to_the_36_frames_is_refused_before_decoding() -> None:
    bomb = with_claimed_frames(encode(tone(), format="flac", provenance=None), (1 << 36) - 1)
    with pytest.raises(DataError, match="at most 3,600 s"):
        read(bomb)


def test_memory_follows_the_samples_that_are_there_not_the_header() -> None:
    bomb = with_claimed_frames(encode(tone(), format="flac", provenance=None), (1 << 36) - 1)
    tracemalloc.start()
    with pytest.raises(DataError):
        read(bomb, cap_seconds=1e9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_the_cap_counts_the_excerpt_not_the_file() -> None:
    data = encode(tone(seconds=1), format="wav", provenance=None)
    with pytest.raises(DataError, match=r"at most 0 s|at most 1 s|claims 1 s"):
        read(data, cap_seconds=0.5)
    assert read(data, cap_seconds=0.5, max_seconds=0.5).seconds == 0.5


@pytest.mark.parametrize("extension", ["wav", "flac"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_lossless_file_cut_short_is_refused(extension: str, share: float) -> None:
    data = encode(tone(seconds=3), format=extension, provenance=None)
    with pytest.raises(DataError, match=r"cut short|cannot be decoded"):
        read(data[: int(len(data) * share)])


@pytest.mark.parametrize("extension", ["mp3", "ogg", "opus"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_lossy_stream_cut_short_is_refused_or_shorter_never_padded(extension: str, share: float) -> None:
    # Rows of independent packets: a shorter row is a valid stream where the decoder says so.
    data = encode(tone(seconds=3), format=extension, provenance=None)
    try:
        seconds = read(data[: int(len(data) * share)]).seconds
    except DataError:
        seconds = 0.0
    assert seconds < 3


def test_a_wav_streamed_into_a_pipe_with_unknown_length_is_read() -> None:
    data = bytearray(encode(tone(), format="wav", provenance=None))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    assert read(bytes(data)).audio.shape == (1, 4000)


@pytest.mark.parametrize("sample_rate", [10, 4_000_000])
def test_an_absurd_sample_rate_is_refused(sample_rate: int) -> None:
    with pytest.raises(DataError, match="1000 to 768000 Hz"):
        info(wav_bytes(np.zeros((10, 1)), sample_rate=sample_rate))


def test_absurdly_many_channels_are_refused() -> None:
    with pytest.raises(DataError, match="64 channels"):
        info(wav_bytes(np.zeros((10, 64))))


@pytest.mark.parametrize(
    ("name", "message"), [("a.wave", "Did you mean 'wav'"), ("a", "needs an extension"), ("a.m4a", r"\.flac")]
)
def test_an_unknown_extension_lists_the_allowed_ones(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / name, tone(), provenance=None)
    assert list(tmp_path.iterdir()) == []


def test_opus_at_a_rate_it_does_not_have_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)44100 Hz.*resample"):
        write(tmp_path / "a.opus", tone(sample_rate=44100), provenance=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("audio", [torch.zeros(1, 0), torch.zeros(5), torch.tensor([[float("nan")]])])
def test_unusable_audio_is_not_written(tmp_path: Path, audio: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"a\.wav"):
        write(tmp_path / "a.wav", Waveform(audio=audio, sample_rate=16000), provenance=None)
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made_and_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x" / "y" / "a.wav"
    write(path, tone(), provenance=None)
    write(path, tone(seconds=0.5), provenance=None)
    assert info(path).seconds == 0.5
    assert [p.name for p in path.parent.iterdir()] == ["a.wav"]


def test_a_write_that_fails_midway_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.bin", b"older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match=r"(?s)No space to write 100,000 bytes.*a\.bin"):
            write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"(?s)No space.*free some space"):
        write(tmp_path / "a.wav", tone(), provenance=None)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.wav", tone(), provenance=None)
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_folder_name_or_below_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "dir.wav").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path / "dir.wav", tone(), provenance=None)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "a.wav", tone(), provenance=None)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings (../shared/real) are not here")
def test_real_recordings_of_every_rate_decode_as_their_manifest_says() -> None:
    rows = [json.loads(line) for line in (REAL / "metadata.jsonl").read_text().splitlines()]
    chosen = {row["sample_rate"]: row for row in rows}
    assert min(chosen) == 8000 and max(chosen) == 96000
    for rate, row in chosen.items():
        waveform = read(REAL / row["file_name"])
        header = info(REAL / row["file_name"])
        assert waveform.sample_rate == rate == header.sample_rate
        assert tuple(waveform.audio.shape) == (header.channels, header.frames)
        assert abs(waveform.seconds - row["duration"]) < 0.01
        assert 0 < waveform.audio.abs().max() <= 1
