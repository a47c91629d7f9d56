"""Detection: whatever is changed after publishing is found, and a stranger's signature is called a stranger's."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from calm import audio
from calm.errors import DataError, ProvenanceError
from calm.safety import Finding, Report, detect
from calm.safety.detection import inspect
from calm.safety.keys import signing_key, trusted
from calm.safety.sidecar import make_sidecar, read_sidecar, sidecar_path
from calm.types import Waveform
from tests.safety.published import UNMARKED, clip, home_of, published, record

WITH_MANIFEST = ["wav", "flac", "mp3"]


def finding(report: Report, part: str) -> Finding:
    return next(each for each in report.findings if each.part == part)


def look(data: bytes, sidecar: bytes | None, name: str) -> Report:
    return inspect(data, sidecar, name=name, known=trusted(UNMARKED))


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("extension", [*WITH_MANIFEST, "ogg"])
def test_a_flipped_bit_anywhere_in_a_file_is_found(tmp_path: Path, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}", clip(0.2))
    data, sidecar, dice = path.read_bytes(), sidecar_path(path).read_bytes(), random.Random(extension)
    assert look(data, sidecar, path.name).state == "intact"
    for _ in range(60):
        changed = flipped(data, dice.randrange(len(data)), dice.randrange(8))
        report = look(changed, sidecar, path.name)
        assert report.state == "broken" and finding(report, "sidecar").state == "broken"


@pytest.mark.parametrize("extension", WITH_MANIFEST)
def test_a_flipped_bit_outside_the_manifest_is_found_without_the_sidecar(tmp_path: Path, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}", clip(0.2))
    data, dice = path.read_bytes(), random.Random(extension)
    begin = data.index(b"jumb") - 64  # the manifest with the head of its chunk or frame; its padding says nothing
    outside = [at for at in range(len(data)) if not begin <= at < begin + 4000]
    assert len(outside) > 300 and look(data, None, path.name).state == "intact"
    for position in dice.sample(outside, 60):
        report = look(flipped(data, position, dice.randrange(8)), None, path.name)
        assert finding(report, "c2pa").state == "broken", position


def test_a_flipped_bit_anywhere_in_a_sidecar_is_found(tmp_path: Path) -> None:
    path = published(tmp_path / "a.ogg")
    data, sidecar = path.read_bytes(), sidecar_path(path).read_bytes()
    for position in range(0, len(sidecar), 7):
        assert look(data, flipped(sidecar, position, position % 8), path.name).state == "broken", position


@pytest.mark.parametrize("extension", WITH_MANIFEST)
def test_a_damaged_manifest_is_broken_and_never_a_crash(tmp_path: Path, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}", clip(0.2))
    data, sidecar, dice = path.read_bytes(), sidecar_path(path).read_bytes(), random.Random(extension)
    begin = data.index(b"jumb") - 8
    for _ in range(60):
        at, length = begin + dice.randrange(3000), dice.randrange(1, 30)
        changed = data[:at] + dice.randbytes(length) + data[at + dice.choice((0, length, 2 * length)) :]
        report = look(changed, sidecar, path.name)
        assert report.state == "broken" and json.dumps(report.as_json())


def test_one_changed_sample_is_found(tmp_path: Path) -> None:
    path = published(tmp_path / "a.wav")
    waveform = audio.read(path)
    waveform.audio[0, 4000] += 1 / 32768
    audio.write(path, waveform, provenance=audio.read_provenance(path))
    report = detect(path)
    assert "the audio was changed" in finding(report, "sidecar").message
    assert "removed" in finding(report, "c2pa").message and report.state == "broken"


@pytest.mark.parametrize("extension", WITH_MANIFEST)
def test_encoding_anew_loses_the_manifest_and_the_sidecar_does_not_fit(tmp_path: Path, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}")
    again = tmp_path / "again.mp3"
    audio.write(again, audio.read(path), provenance=None)
    shutil.copy(sidecar_path(path), sidecar_path(again))
    report = detect(again)
    assert finding(report, "c2pa").state == "absent" and finding(report, "sidecar").state == "broken"
    assert report.state == "broken"


def test_the_same_samples_in_another_file_are_told_apart_from_other_samples(tmp_path: Path) -> None:
    path = published(tmp_path / "a.wav")
    again = audio.write(tmp_path / "again.flac", audio.read(path), provenance=None)
    shutil.copy(sidecar_path(path), sidecar_path(again))
    assert "the samples are those that were signed" in finding(detect(again), "sidecar").message


def test_the_sidecar_of_another_file_is_found(tmp_path: Path) -> None:
    one, other = published(tmp_path / "a.wav"), published(tmp_path / "b.wav", clip(seed=1))
    shutil.copy(sidecar_path(other), sidecar_path(one))
    report = detect(one)
    assert report.state == "broken" and "another file's sidecar" in finding(report, "sidecar").message
    assert finding(report, "c2pa").state == "intact"


def test_a_strangers_signature_is_intact_and_unknown_until_the_reader_trusts_it(tmp_path: Path) -> None:
    with home_of(tmp_path / "stranger"):
        path = published(tmp_path / "a.wav")
    report = detect(path)
    assert report.state == "intact" and not report.known
    assert "a key that you do not know (SHA256:" in finding(report, "sidecar").message
    assert "an authority that you do not know" in finding(report, "c2pa").message
    keys = tmp_path / "stranger" / "keys"
    report = detect(path, trust=[keys / "signing_key.pub.pem", keys / "certificates.pem"])
    assert report.known and "signing_key.pub (SHA256:" in finding(report, "sidecar").message
    with home_of(tmp_path / "reader"):
        (tmp_path / "reader" / "trusted").mkdir(parents=True)
        shutil.copy(keys / "signing_key.pub.pem", tmp_path / "reader" / "trusted" / "ada.pem")
        report = detect(path)
        assert "ada (SHA256:" in finding(report, "sidecar").message
        assert finding(report, "sidecar").known and not finding(report, "c2pa").known
        assert not (tmp_path / "reader" / "keys").exists()  # looking makes no keys


def test_a_record_signed_by_another_key_in_the_first_ones_name_is_found(tmp_path: Path) -> None:
    path = published(tmp_path / "a.wav")
    own = json.loads(sidecar_path(path).read_text())
    with home_of(tmp_path / "stranger"):
        forged = json.loads(make_sidecar({**own["record"], "model": "other"}, key=signing_key(UNMARKED)))
    for name in ("public_key", "fingerprint"):
        mixed = {**forged, "signature": {**forged["signature"], name: own["signature"][name]}}
        with pytest.raises(ProvenanceError, match=r"signature does not fit|changed around"):
            read_sidecar((json.dumps(mixed, indent=2) + "\n").encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"audiocalm_provenance": 2}', b'{"audiocalm_provenance": 1}', b" " * (2 << 20)],
)
def test_a_file_that_is_no_sidecar_is_broken_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = published(tmp_path / "a.wav")
    sidecar_path(path).write_bytes(content)
    report = detect(path)
    assert report.state == "broken" and finding(report, "sidecar").message.startswith("The sidecar is damaged")


def test_a_tag_alone_is_nothing_that_can_be_checked(tmp_path: Path) -> None:
    report = detect(audio.write(tmp_path / "a.wav", clip(), provenance=record()))
    assert report.state == "nothing" and finding(report, "tag").state == "unsigned"
    assert finding(report, "c2pa").message == "none"


def test_audio_of_elsewhere_has_nothing(tmp_path: Path) -> None:
    report = detect(audio.write(tmp_path / "a.wav", clip(), provenance=None))
    assert report.state == "nothing" and {each.state for each in report.findings} == {"absent"}


def test_a_file_without_its_sidecar_says_that_there_was_one(tmp_path: Path) -> None:
    path = published(tmp_path / "a.mp3")
    sidecar_path(path).unlink()
    assert "signed, says the tag" in finding(detect(path), "sidecar").message


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.txt", "a"])
def test_what_is_no_audio_is_broken_and_never_a_crash(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not audio at all\n" * 50)
    report = detect(tmp_path / name)
    assert report.state == "broken" and "cannot be read" in finding(report, "tag").message


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        detect(tmp_path / "gone.wav")


def test_an_extension_that_lies_is_not_believed(tmp_path: Path) -> None:
    path = published(tmp_path / "a.flac")
    shutil.move(path, tmp_path / "a.wav")
    assert finding(detect(tmp_path / "a.wav"), "c2pa").state == "intact"


def test_a_report_is_json(tmp_path: Path) -> None:
    values = json.loads(json.dumps(detect(published(tmp_path / "a.wav")).as_json()))
    assert values["state"] == "intact" and [each["part"] for each in values["findings"]][:3] == ["tag", "sidecar", "c2pa"]


def test_silence_and_one_sample_are_published_and_found(tmp_path: Path) -> None:
    for samples in (1, 400):
        path = published(tmp_path / f"{samples}.wav", Waveform(audio=torch.zeros(2, samples), sample_rate=44100))
        assert detect(path).state == "intact"
