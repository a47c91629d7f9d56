"""Recorded voices: registered as files, used with a consent that holds at that moment, and taken back."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from calm import audio
from calm.safety import Consent
from calm.safety.sidecar import read_sidecar
from calm.serving.voices import DESCRIBED
from tests.serving.http_lab import Lab, serving

TOMORROW = (date.today() + timedelta(days=1)).isoformat()
FORM = {"name": "ada", "who": "A. Speaker", "purpose": "narration, films", "expires": TOMORROW}
SPEECH = {"task": "speech", "input": "Hello there.", "duration": 0.2}


def recording(seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).normal(scale=2000, size=16_000).astype("int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, 16_000, format="WAV")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def lab(mini, tmp_path_factory) -> Iterator[Lab]:
    with serving(mini, home=tmp_path_factory.mktemp("home"), max_voices=2) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_voices(lab: Lab) -> None:
    shutil.rmtree(lab.service.settings.home, ignore_errors=True)


def register(lab: Lab, *, clip: bytes | None = None, **form: str) -> httpx.Response:
    files = {"clip": ("../../clip.wav", recording() if clip is None else clip)}
    return httpx.post(f"{lab.url}/v1/audio/voices", data={**FORM, **form}, files=files, timeout=60)


def test_a_registered_voice_is_a_folder_that_can_be_audited(lab: Lab):
    files = {"clip": ("me.wav", recording()), "statement": ("../said.flac", recording(1))}
    voice = httpx.post(f"{lab.url}/v1/audio/voices", data=FORM, files=files).json()
    assert (voice["object"], voice["name"], voice["usable"]) == ("audio.voice", "ada", True)
    folder = lab.service.settings.home / "voices" / voice["id"]
    assert sorted(path.name for path in folder.iterdir()) == ["clip.wav", "consent.json", "statement.wav", "voice.json"]
    assert (folder / "clip.wav").read_bytes() == recording()
    record = Consent.load(folder / "consent.json")
    record.verify(recording(), today=date.today(), purpose="films", statement=recording(1))
    assert [path.name for path in folder.parent.iterdir()] == [voice["id"]]


def test_a_registered_voice_speaks_by_name_and_by_id_and_its_consent_is_named(lab: Lab):
    voice = register(lab).json()
    consent = Consent.load(lab.service.settings.home / "voices" / voice["id"] / "consent.json")
    clips = [lab.post(**SPEECH, voice=named) for named in ("Ada", voice["id"], {"id": voice["id"]})]
    assert [clip.status_code for clip in clips] == [200] * 3
    assert {audio.read_provenance(clip.content).consent_sha256 for clip in clips} == {consent.sha256}
    described = lab.post(**SPEECH, voice="alloy")
    assert audio.read_provenance(described.content).consent_sha256 is None
    assert described.content[-1000:] != clips[0].content[-1000:]


def change(folder: Path, **fields: object) -> None:
    record = dataclasses.replace(Consent.load(folder / "consent.json"), **fields)
    record.save(folder / "consent.json")


def edit(folder: Path) -> None:
    values = json.loads((folder / "consent.json").read_text())
    (folder / "consent.json").write_text(json.dumps({**values, "expires": "2999-01-01"}))


YESTERDAY = date.today() - timedelta(days=1)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: change(folder, granted=YESTERDAY, expires=YESTERDAY), "expired"),
        (lambda folder: (folder / "consent.json").unlink(), "No such consent record"),
        (lambda folder: (folder / "clip.wav").write_bytes(recording(7)), "not the one"),
        (lambda folder: (folder / "clip.wav").unlink(), "its clip is gone"),
        (edit, "changed after it was made"),
    ],
    ids=["expired", "no consent", "another clip", "no clip", "edited"],
)
def test_a_voice_whose_consent_no_longer_holds_is_refused_at_its_next_use(harm, says: str, lab: Lab):
    voice = register(lab).json()
    harm(lab.service.settings.home / "voices" / voice["id"])
    refused = lab.post(**SPEECH, voice="ada")
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert error["code"] == "consent" and says in error["message"]
    assert str(lab.service.settings.home) not in refused.text


def test_a_purpose_that_is_named_must_be_in_the_consent(lab: Lab):
    register(lab)
    assert lab.post(**SPEECH, voice="ada", purpose="films").status_code == 200
    assert lab.post(**SPEECH, voice="ada", purpose="advertising").status_code == 403


def test_where_no_purpose_is_named_the_signed_record_names_the_consent_that_has_it(lab: Lab):
    voice = register(lab).json()
    spoken = lab.post(**SPEECH, voice="ada")
    record = read_sidecar(httpx.get(f"{lab.url}/v1/audio/records/{spoken.headers['x-record-id']}").content).record
    consent = Consent.load(lab.service.settings.home / "voices" / voice["id"] / "consent.json")
    assert (record["consent_sha256"], record["consent_id"]) == (consent.sha256, consent.id)
    assert consent.purpose == FORM["purpose"]


def test_the_list_has_described_and_recorded_voices_and_says_which_may_be_used(lab: Lab):
    voice = register(lab).json()
    listed = httpx.get(f"{lab.url}/v1/audio/voices").json()["data"]
    assert [each["name"] for each in listed] == [*DESCRIBED, "ada"]
    assert listed[-1]["expires"] == TOMORROW and listed[-1]["usable"]
    folder = lab.service.settings.home / "voices" / voice["id"]
    change(folder, granted=YESTERDAY, expires=YESTERDAY)
    assert not httpx.get(f"{lab.url}/v1/audio/voices").json()["data"][-1]["usable"]


def test_a_deleted_voice_is_gone_with_its_files(lab: Lab):
    voice = register(lab).json()
    gone = httpx.delete(f"{lab.url}/v1/audio/voices/{voice['id']}").json()
    assert gone == {"id": voice["id"], "object": "audio.voice.deleted", "deleted": True}
    assert list((lab.service.settings.home / "voices").iterdir()) == []
    assert httpx.delete(f"{lab.url}/v1/audio/voices/{voice['id']}").status_code == 404
    assert lab.post(**SPEECH, voice="ada").status_code == 400


@pytest.mark.parametrize("id", ["alloy", "ada", "..", "%2e%2e", "..%2f..%2fetc", "voice_", "voice_" + "0" * 32])
def test_nothing_but_a_registered_voice_can_be_deleted(id: str, lab: Lab):
    register(lab)
    assert httpx.delete(f"{lab.url}/v1/audio/voices/{id}").status_code in (404, 405)
    assert len(list((lab.service.settings.home / "voices").iterdir())) == 1


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"name": "../up"}, "name"),
        ({"name": "alloy"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a" + " " * 64 + "b"}, "name"),
        ({"who": "x" * 301}, "who"),
        ({"purpose": "x" * 301}, "purpose"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"expires": "soon"}, "expires"),
        ({"who": ""}, "who"),
        ({"clip": b"no audio"}, "clip"),
        ({"clip": b""}, "clip"),
    ],
)
def test_a_voice_that_cannot_be_registered_leaves_nothing(form: dict, param: str, lab: Lab):
    refused = register(lab, **form)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    folder = lab.service.settings.home / "voices"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_name_is_given_once_and_there_is_room_for_so_many(lab: Lab):
    assert register(lab).status_code == 200
    assert "already" in register(lab, name="ADA").json()["error"]["message"]
    assert register(lab, name="two").status_code == 200
    assert register(lab, name="three").status_code == 400


def test_a_clip_in_the_request_needs_its_own_consent(lab: Lab):
    clip = recording()
    sent = "data:audio/wav;base64," + base64.b64encode(clip).decode()
    record = Consent.new(clip, who="A. Speaker", purpose="narration", expires=date.today())
    fields = {**dataclasses.asdict(record), "granted": str(record.granted), "expires": str(record.expires)}
    assert lab.post(**SPEECH, ref_audio=sent).status_code == 403
    spoken = lab.post(**SPEECH, ref_audio=sent, consent=fields)
    assert audio.read_provenance(spoken.content).consent_sha256 == record.sha256
    other = base64.b64encode(recording(3)).decode()
    assert lab.post(**SPEECH, ref_audio=other, consent=fields).status_code == 403
    assert lab.post(**SPEECH, ref_audio=sent, consent={**fields, "expires": "2020-01-01"}).status_code == 403
    assert lab.post(**SPEECH, ref_audio=sent, consent={"who": ["x"]}).status_code == 403


@pytest.mark.parametrize("words", ["A low male voice", DESCRIBED["alloy"]])
def test_a_voice_that_is_named_like_a_description_does_not_take_its_place(words: str, lab: Lab):
    voice = register(lab, name=words).json()
    named, by_id = lab.post(**SPEECH, voice=words.lower()), lab.post(**SPEECH, voice=voice["id"])
    assert (named.status_code, by_id.status_code) == (200, 200)
    assert audio.read_provenance(named.content).consent_sha256 is None
    assert audio.read_provenance(by_id.content).consent_sha256 is not None
