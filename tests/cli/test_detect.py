"""`calm detect`, `calm consent show` and `verify`, `calm generate --provenance`: what the shell sees."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from calm import audio
from calm.cli import app
from calm.cli.errors import printable
from calm.config import load_config
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.safety import Consent, detect
from tests.safety.published import clip, home_of, published, record


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    parts = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]
    config = load_config([*parts, "name=tiny", "sampler.num_steps=1"])
    torch.manual_seed(0)
    return save_pretrained(folder, model=build_model(config), config=config)


def calm(*words):
    return CliRunner().invoke(app, list(words), prog_name="calm")


def generate(export, *words):
    return calm("generate", "rain", "--task", "sound", "--duration", "0.5", "--model", str(export), *words)


def test_what_generate_writes_is_found_with_the_models_hashes(export, here):
    assert generate(export, "-o", "a.flac").exit_code == 0
    done = calm("detect", "a.flac", "--json")
    assert done.exit_code == 0
    says = {each["part"]: each["says"] for each in json.loads(done.stdout)["findings"]}
    assert len(says["sidecar"]["model_sha256"]) == len(says["sidecar"]["config_sha256"]) == 64
    assert says["c2pa"]["model_sha256"] == says["tag"]["model_sha256"] == says["sidecar"]["model_sha256"]
    shown = calm("detect", "a.flac").stdout
    assert shown.startswith("a.flac: intact") and "signed by your own key (SHA256:" in shown
    assert "model tiny, task sound, seed 0" in shown


def test_generate_leaves_out_what_a_flag_turns_off_and_says_so(export, here):
    assert generate(export, "-o", "a.wav", "--provenance", "sidecar").exit_code == 0
    said = json.loads(Path("a.wav.provenance.json").read_text())["record"]
    assert said["c2pa"] == said["watermark"] == "turned off by flag" and said["sidecar"] == "signed"
    assert generate(export, "-o", "b.wav", "--provenance", "none").exit_code == 0
    assert audio.read_provenance("b.wav").sidecar == "turned off by flag"
    assert calm("detect", "b.wav").exit_code == 1 and not Path("b.wav.provenance.json").exists()


def test_generate_refuses_parts_and_keys_before_a_model_is_loaded(here):
    refused = calm("generate", "rain", "--model", "no_such_model", "--provenance", "c3pa")
    assert refused.exit_code == 2 and "Did you mean 'c2pa'" in refused.stderr
    (here / "file").write_bytes(b"")
    with home_of(here / "file" / "home"):
        refused = calm("generate", "rain", "--model", "no_such_model")
    assert refused.exit_code == 2 and "AUDIOCALM_HOME" in refused.stderr


def test_a_voice_is_used_for_what_its_owner_agreed_to(export, here):
    audio.write("me.wav", clip(1), provenance=None)
    Consent.new("me.wav", who="Me", purpose="tests, films", expires=date.max).save("me.json")
    words = ["generate", "Hello.", "--duration", "0.5", "--model", str(export), "--ref-audio", "me.wav", "--consent", "me.json"]
    assert calm(*words, "-o", "a.wav", "--purpose", "films").exit_code == 0
    assert detect(Path("a.wav")).findings[1].says["consent_id"] == Consent.load("me.json").id
    refused = calm(*words, "-o", "b.wav", "--purpose", "advertising")
    assert refused.exit_code == 2 and "not given for 'advertising'" in refused.stderr and not Path("b.wav").exists()
    assert "--purpose belong to a clip" in calm("generate", "Hello.", "--purpose", "films").stderr


def test_detect_exits_with_0_intact_1_nothing_2_broken_and_the_worst_of_several(here):
    published(Path("good.wav"))
    audio.write("tag.wav", clip(), provenance=record())
    audio.write(published(Path("bad.wav")), clip(seed=1), provenance=None)
    Path("text.wav").write_text("no audio")
    codes = {name: calm("detect", f"{name}.wav").exit_code for name in ("good", "tag", "bad", "text", "gone")}
    assert codes == {"good": 0, "tag": 1, "bad": 2, "text": 2, "gone": 2}
    assert calm("detect", "good.wav", "tag.wav").exit_code == 1
    both = calm("detect", "gone.wav", "bad.wav", "good.wav")
    assert both.exit_code == 2 and "No such file" in both.stderr
    assert "bad.wav: BROKEN" in both.stdout and "good.wav: intact" in both.stdout


def test_a_stranger_counts_as_broken_only_where_that_is_asked_for(here):
    with home_of(here / "stranger"):
        published(Path("a.ogg"))
    done = calm("detect", "a.ogg")
    assert done.exit_code == 0 and "a key that you do not know" in done.stdout
    assert calm("detect", "a.ogg", "--require-known").exit_code == 2
    key = "stranger/keys/signing_key.pub.pem"
    assert calm("detect", "a.ogg", "--require-known", "--trust", key).exit_code == 0


def test_words_out_of_a_file_do_not_steer_the_terminal(here):
    audio.write("a.flac", clip(), provenance=record(model="\x1b[2Jwiped\nfine"))
    shown = calm("detect", "a.flac").stdout
    assert "wiped" in shown and "\x1b" not in shown and "\nfine" not in shown
    assert printable("a\ud800\x07b") == "a\ufffd\ufffdb"


def test_consent_show_says_whether_a_record_holds_today(here):
    audio.write("me.wav", clip(), provenance=None)
    today = date.today()
    new = ["consent", "new", "--ref-audio", "me.wav", "--who", "Zoë", "--purpose", "films", "-o", "me.json"]
    assert calm(*new, "--expires", str(today + timedelta(days=1)), "--statement", "me.wav").exit_code == 0
    shown = calm("consent", "show", "me.json")
    assert shown.exit_code == 0 and "Zoë" in shown.stdout and "holds, 2 days left with today" in shown.stdout
    record = Consent.load("me.json")
    for word in (record.audio_sha256, record.id, record.sha256, "me.wav, SHA-256"):
        assert word in shown.stdout
    old = Consent.new("me.wav", who="Zoë", purpose="films", granted=date(2020, 1, 1), expires=date(2020, 2, 1))
    old.save("old.json")
    shown = calm("consent", "show", "old.json").stdout
    assert "does not hold: The consent of Zoë expired on 2020-02-01" in shown and "none recorded" in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], None),
        (["--purpose", "films", "--statement", "said.wav"], None),
        (["--ref-audio", "you.wav"], "not the one that Zoë gave consent for"),
        (["--purpose", "advertising"], "not given for 'advertising'"),
        (["--statement", "you.wav"], "not the one that Zoë made"),
        (["--ref-audio", "gone.wav"], "No such audio file"),
    ],
)
def test_consent_verify_exits_with_0_or_with_2_and_the_reason(here, words, reason):
    for seed, name in enumerate(("me", "you", "said")):
        audio.write(f"{name}.wav", clip(seed=seed), provenance=None)
    Consent.new("me.wav", who="Zoë", purpose="films", expires=date.today(), statement="said.wav").save("me.json")
    done = calm("consent", "verify", "me.json", "--ref-audio", "me.wav", *words)
    assert done.exit_code == (2 if reason else 0)
    assert reason in done.stderr if reason else "Zoë allows me.wav for films; holds, 1 day left" in done.stdout


def test_consent_verify_refuses_what_has_expired_and_what_is_missing(here):
    audio.write("me.wav", clip(), provenance=None)
    Consent.new("me.wav", who="Me", purpose="films", granted=date(2020, 1, 1), expires=date(2020, 2, 1)).save("old.json")
    for name, reason in {"old.json": "expired on 2020-02-01", "gone.json": "No such consent record"}.items():
        done = calm("consent", "verify", name, "--ref-audio", "me.wav")
        assert done.exit_code == 2 and reason in done.stderr
