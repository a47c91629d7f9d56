"""Publishing: what a file carries, what it says of parts that were turned off, and what a kill leaves."""

from __future__ import annotations

import base64
import dataclasses
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from cryptography.hazmat.primitives import serialization

from calm import audio
from calm.errors import InputError, ProvenanceError
from calm.safety import ProvenanceSettings, audio_sha256, detect, parse_parts, publish, publish_bytes
from calm.safety import marks as marks_module
from calm.safety.detection import inspect
from calm.safety.keys import credentials, signing_key, trusted
from calm.safety.publishing import OFF, sign_and_write
from calm.safety.settings import PARTS, home
from calm.types import Waveform
from tests.safety.published import PROMPT, UNMARKED, clip, published, record

FORMATS = ["wav", "flac", "mp3", "ogg", "opus"]
WITH_MANIFEST = ["wav", "flac", "mp3"]


def findings(path: Path) -> dict[str, SimpleNamespace]:
    return {finding.part: finding for finding in detect(path).findings}


@pytest.mark.parametrize("extension", FORMATS)
def test_a_published_file_is_found_intact_and_signed_by_its_maker(tmp_path: Path, extension: str) -> None:
    path = published(tmp_path / f"a.{extension}")
    found, report = findings(path), detect(path)
    assert report.state == "intact" and report.known
    assert found["sidecar"].state == "intact" and "your own key" in found["sidecar"].message
    supported = extension in WITH_MANIFEST
    assert found["c2pa"].state == ("intact" if supported else "absent")
    for part in ("tag", "sidecar"):
        assert found[part].says["c2pa"] == ("signed" if supported else f"not supported by {extension}")
    for part in ("tag", "sidecar", *(["c2pa"] if supported else [])):
        assert found[part].says["model"] == "mini" and found[part].says["model_sha256"] == "ab" * 32


@pytest.mark.parametrize("extension", WITH_MANIFEST)
def test_a_manifest_does_not_touch_the_samples(tmp_path: Path, extension: str) -> None:
    plain = audio.read(audio.encode(clip(2), format=extension, provenance=record()))
    signed = audio.read(published(tmp_path / f"a.{extension}", clip(2)))
    assert torch.equal(plain.audio, signed.audio)


def test_the_manifest_says_that_a_trained_model_made_it(tmp_path: Path) -> None:
    says = findings(published(tmp_path / "a.wav"))["c2pa"].says
    assert says["source_type"] == "trainedAlgorithmicMedia" and says["generator"] == "AudioCALM"
    assert says["prompt_sha256"] == record().prompt_sha256


def test_the_sidecar_names_the_samples_the_file_and_where_they_are_from(tmp_path: Path) -> None:
    path = published(tmp_path / "a.flac", config_sha256="cd" * 32)
    said = json.loads((tmp_path / "a.flac.provenance.json").read_text())["record"]
    assert said["audio_sha256"] == audio_sha256(path)
    assert (said["frames"], said["sample_rate"], said["channels"], said["format"]) == (8000, 16000, 1, "flac")
    assert (said["seed"], said["config_sha256"], said["task"]) == (3, "cd" * 32, "sound")


@pytest.mark.parametrize("extension", FORMATS)
def test_neither_the_prompt_nor_a_private_key_is_in_a_file(tmp_path: Path, extension: str) -> None:
    published(tmp_path / f"a.{extension}")
    secrets = [PROMPT.encode(), b"PRIVATE KEY"]
    for pem in (home() / "keys" / "signing_key.pem", home() / "keys" / "certificate_key.pem"):
        key = serialization.load_pem_private_key(pem.read_bytes(), password=None)
        raw = (
            key.private_bytes_raw()
            if hasattr(key, "private_bytes_raw")
            else key.private_numbers().private_value.to_bytes(32, "big")
        )
        secrets += [raw, base64.b64encode(raw), raw.hex().encode(), pem.read_bytes().splitlines()[1]]
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert not [secret for secret in secrets if secret in data], file


def test_a_key_is_not_shown_where_its_record_is_printed() -> None:
    assert "PRIVATE" not in repr(credentials(UNMARKED)) and "PRIVATE" in credentials(UNMARKED).key


@pytest.mark.parametrize("parts", [(), ("sidecar",), ("c2pa",), ("sidecar", "c2pa")])
def test_what_was_turned_off_stands_in_what_remains(tmp_path: Path, parts: tuple[str, ...]) -> None:
    publish(tmp_path / "a.wav", clip(), provenance=record(), settings=ProvenanceSettings(parts=parts))
    found = findings(tmp_path / "a.wav")
    for part in PARTS:
        assert (found["tag"].says[part] == OFF) == (part not in parts)
        assert part in parts or found[part].state == "absent"
        if found["sidecar"].state == "intact":
            assert (found["sidecar"].says[part] == OFF) == (part not in parts)
    assert detect(tmp_path / "a.wav").state == ("intact" if parts else "nothing")


def test_a_sidecar_of_an_earlier_file_does_not_outlive_it(tmp_path: Path) -> None:
    published(tmp_path / "a.wav")
    publish(tmp_path / "a.wav", clip(seed=1), provenance=record(), settings=ProvenanceSettings(parts=()))
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_bytes_are_published_like_files() -> None:
    data, sidecar = publish_bytes(clip(), format="mp3", provenance=record(), settings=UNMARKED)
    report = inspect(data, sidecar, name="a.mp3", known=trusted(UNMARKED))
    assert report.state == "intact" and report.known
    assert publish_bytes(clip(), format="mp3", provenance=record(), settings=ProvenanceSettings(parts=())).sidecar is None


class Quieter:
    """A mark that can be heard, and is easy to find."""

    def embed(self, waveform: Waveform) -> Waveform:
        return dataclasses.replace(waveform, audio=waveform.audio / 2)

    def detect(self, waveform: Waveform) -> SimpleNamespace:
        peak = float(waveform.audio.abs().max())
        return SimpleNamespace(found=peak < 0.3, score=-peak, threshold=-0.3)


def test_a_mark_is_in_the_samples_that_are_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calm.safety.detection.available_marks", lambda: {"quieter": Quieter()})
    settings = ProvenanceSettings(watermark="quieter")
    sign_and_write(tmp_path / "a.wav", clip(), provenance=record(), settings=settings, mark=Quieter())
    report, found = detect(tmp_path / "a.wav"), findings(tmp_path / "a.wav")
    assert report.state == "intact" and found["watermark"].state == "intact"
    assert found["tag"].says["watermark"] == found["sidecar"].says["watermark"] == "quieter"
    marked = audio.encode(Quieter().embed(clip()), format="wav", provenance=None)
    assert found["sidecar"].says["audio_sha256"] == audio_sha256(marked) != audio_sha256(clip())
    assert torch.equal(audio.read(tmp_path / "a.wav").audio, audio.read(marked).audio)


def test_a_mark_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calm.safety.detection.available_marks", lambda: {"quieter": Quieter()})
    audio.write(tmp_path / "a.wav", Quieter().embed(clip()), provenance=None)
    audio.write(tmp_path / "b.wav", clip(), provenance=None)
    assert detect(tmp_path / "a.wav").state == "intact" and detect(tmp_path / "b.wav").state == "nothing"


def test_a_mark_that_cannot_look_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Particular(Quieter):
        def detect(self, waveform: Waveform) -> SimpleNamespace:
            raise InputError("The clip is too short")

    monkeypatch.setattr("calm.safety.detection.available_marks", lambda: {"particular": Particular()})
    assert "'particular' not looked for: The clip is too short" in findings(published(tmp_path / "a.wav"))["watermark"].message


def test_marks_that_cannot_be_built_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Quieter:
        if name == "heavy":
            raise ProvenanceError("its weights are not here")
        return Quieter()

    monkeypatch.setattr(marks_module.registry, "KINDS", {**marks_module.registry.KINDS, marks_module.KIND: "calm.safety"})
    monkeypatch.setattr(marks_module.registry, "names", lambda kind: ["heavy", "quieter"])
    monkeypatch.setattr(marks_module, "find_mark", find)
    assert list(marks_module.available_marks()) == ["quieter"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(("step", "left"), [(0, []), (1, ["a.wav.provenance.json"])])
def test_a_kill_never_leaves_audio_without_its_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, left: list[str]
) -> None:
    replace, calls = os.replace, []

    def killed(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > step:
            raise Killed
        replace(source, target)

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(Killed):
        published(tmp_path / "a.wav")
    assert sorted(file.name for file in tmp_path.iterdir()) == left


def test_a_kill_over_an_earlier_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = published(tmp_path / "a.wav"), os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target) == path:
            raise Killed
        replace(source, target)

    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(Killed):
            published(path, clip(seed=1))
    assert path.read_bytes() == before
    assert "another file's sidecar" in findings(path)["sidecar"].message
    assert detect(published(path, clip(seed=1))).state == "intact"


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls, fsync = published(tmp_path / "a.wav"), [], os.fsync
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space to write"):
        published(path, clip(seed=1))
    assert len(calls) == 2 and {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_bad_audio_and_unknown_formats_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown audio format 'aac'"):
        published(tmp_path / "a.aac")
    with pytest.raises(InputError, match="not finite"):
        published(tmp_path / "a.wav", Waveform(audio=torch.full((1, 9), torch.nan), sample_rate=16000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "parts"),
    [("all", PARTS), ("none", ()), ("c2pa", ("c2pa",)), (" Watermark, sidecar ", ("sidecar", "watermark"))],
)
def test_parts_are_named(text: str, parts: tuple[str, ...]) -> None:
    assert parse_parts(text) == parts


@pytest.mark.parametrize(("text", "message"), [("sidecars", "Did you mean 'sidecar'"), ("", "No part"), ("none,c2pa", "'none'")])
def test_a_part_that_does_not_exist_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_parts(text)


def test_each_published_file_has_the_key_of_its_settings(tmp_path: Path) -> None:
    assert signing_key(UNMARKED).public_key() == signing_key(ProvenanceSettings()).public_key()
    with pytest.raises(InputError, match="Unknown part 'c2p'"):
        ProvenanceSettings(parts=("c2p",))
