"""What is sent says where it is from: streams by a record that fits every byte, whole files as published ones do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from calm.model.identity import identify
from calm.safety import detect
from calm.safety.sidecar import read_sidecar, sidecar_path
from calm.serving.records import RecordStore
from tests.serving.http_lab import Lab, serving


def save(folder: Path, name: str, response: httpx.Response, lab: Lab) -> Path:
    """The audio with its record beside it, as a client would keep them."""
    path = folder / name
    path.write_bytes(response.content)
    record = httpx.get(f"{lab.url}/v1/audio/records/{response.headers['x-record-id']}")
    sidecar_path(path).write_bytes(record.content)
    return path


def findings(path: Path) -> dict[str, str]:
    return {finding.part: finding.state for finding in detect(path).findings}


@pytest.mark.parametrize("format", ["wav", "mp3", "opus"])
def test_a_saved_stream_and_its_record_fit(format: str, lab: Lab, tmp_path: Path):
    path = save(tmp_path, f"rain.{format}", lab.post(response_format=format), lab)
    assert findings(path)["sidecar"] == "intact"
    record = read_sidecar(sidecar_path(path).read_bytes()).record
    assert (record["finish_reason"], record["seed"], record["task"]) == ("duration", 1, "sound")
    assert record["model_sha256"] == identify("mini").model_sha256
    tag = next(finding for finding in detect(path).findings if finding.part == "tag")
    assert "record_" in tag.says["sidecar"]


def test_a_changed_stream_does_not_fit_its_record(lab: Lab, tmp_path: Path):
    path = save(tmp_path, "rain.wav", lab.post(), lab)
    path.write_bytes(path.read_bytes()[:-2] + b"\x11\x22")
    assert findings(path)["sidecar"] == "broken"


def test_raw_samples_have_a_record_of_their_hash(lab: Lab):
    response = lab.post(response_format="pcm")
    found = httpx.get(f"{lab.url}/v1/audio/records/{response.headers['x-record-id']}")
    record = read_sidecar(found.content).record
    digest = hashlib.sha256(b"24000 Hz, 1 channels\n" + response.content).hexdigest()
    assert (record["audio_sha256"], record["sample_rate"]) == (digest, 24_000)
    assert record["frames"] == len(response.content) // 2


@pytest.mark.parametrize("format", ["wav", "flac", "mp3"])
def test_a_whole_file_is_published_with_a_manifest(format: str, lab: Lab, tmp_path: Path):
    response = lab.post(response_format=format, stream_format="file")
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["x-finish-reason"] == "duration"
    assert findings(save(tmp_path, f"rain.{format}", response, lab)).items() >= {("sidecar", "intact"), ("c2pa", "intact")}


def test_what_is_turned_off_is_said_in_the_audio(mini, tmp_path: Path):
    with serving(mini, provenance=(), home=tmp_path) as lab:
        response = lab.post()
        assert httpx.get(f"{lab.url}/v1/audio/records/{response.headers['x-record-id']}").status_code == 404
    path = tmp_path / "rain.wav"
    path.write_bytes(response.content)
    (tag,) = [finding for finding in detect(path).findings if finding.part == "tag"]
    assert tag.says["sidecar"] == tag.says["watermark"] == "turned off by flag"


def test_so_many_records_are_kept_and_the_oldest_goes_first():
    records = RecordStore(2)
    for id in "abc":
        records.put(id, json.dumps(id).encode())
    assert (records.get("a"), records.get("b"), records.get("c")) == (None, b'"b"', b'"c"')


def test_records_have_a_size_together_and_the_oldest_goes_first():
    records = RecordStore(100, max_bytes=10)
    for id, size in (("a", 4), ("b", 4), ("c", 4)):
        records.put(id, bytes(size))
    assert [records.get(id) is None for id in "abc"] == [True, False, False]
    records.put("c", bytes(6))
    assert (records.get("b"), records.get("c")) == (bytes(4), bytes(6))
    records.put("larger than all of it", bytes(11))
    assert records.get("larger than all of it") is None and records.get("c") is None
