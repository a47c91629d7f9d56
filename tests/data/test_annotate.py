"""Annotated shards: measured attributes, and wordings from a stub of an endpoint on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import soundfile
from typer.testing import CliRunner

from calm.cli import app
from calm.data.annotate import ANSWERS, annotate_shards
from calm.data.check import check
from calm.data.index import index_path
from calm.data.pack import pack
from calm.data.rewrite import Endpoint
from calm.data.shards import ShardSet
from calm.errors import InputError
from tests.audio.test_analysis import bursts, noisy
from tests.data.clips import make_shards, write_manifest

RATE = 16000


class Stub(ThreadingHTTPServer):
    """Answers with ``reply(question)``: a text, or the number of an HTTP error; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, reply) -> None:
        self.reply, self.asked, self.keys = reply, [], set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def endpoint(self, **options) -> Endpoint:
        return Endpoint(**{"url": self.url, "model": "stub", "wait_seconds": 0.0, "num_attempts": 1, **options})


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = json.loads(body["messages"][-1]["content"])
        self.server.asked.append(question)
        self.server.keys.add(self.headers["Authorization"])
        reply = self.server.reply(question) if self.path == "/v1/chat/completions" else 404
        if isinstance(reply, int):
            self.send_error(reply)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}}]}).encode())

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(reply) -> Stub:
        servers.append(Stub(reply))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Two clips of speech, one with a pitch of its own and one without, and a sound; one shard."""
    folder = tmp_path_factory.mktemp("voices")
    rows = [
        {"file_name": "low.flac", "task": "speech", "text": "one two three four five", "speaker": "a"},
        {"file_name": "known.flac", "task": "speech", "text": "one two three", "pitch": "high", "recording": "clean"},
        {"file_name": "hum.flac", "task": "sound", "text": "a hum"},
    ]
    for row in rows:
        soundfile.write(folder / row["file_name"], noisy(bursts(hertz=110, seconds=2.5), 8).clip(-1, 1), RATE)
    write_manifest(folder, rows)
    pack(folder, folder / "shards")
    return folder / "shards"


def records(folder) -> dict[str, dict]:
    shards = ShardSet.open(folder)
    return {row.clip.key: shards.record(number) for number, row in enumerate(shards.rows)}


def test_measures_join_the_record_and_what_is_known_stays(voices, tmp_path):
    report = annotate_shards(voices, tmp_path / "out")
    before, after = records(voices), records(tmp_path / "out")
    low, known = after["low"]["attributes"], after["known"]["attributes"]
    assert (low["pitch"], low["recording"]) == ("low", "noisy") and low["pitch_hz"] == pytest.approx(110, rel=0.05)
    assert low["snr_db"] == pytest.approx(8, abs=2.5)
    assert (known["pitch"], known["recording"]) == ("high", "clean") and not {"pitch_hz", "snr_db"} & set(known)
    assert "pitch" not in after["hum"]["attributes"] and "loudness" in after["hum"]["attributes"]
    assert report.added["pitch"] == 1 and report.added["loudness"] == 3 and report.clips == 3
    for key, record in before.items():
        assert {name: after[key][name] for name in record if name != "attributes"} == {
            name: value for name, value in record.items() if name != "attributes"
        }


def test_the_audio_keeps_its_bytes_and_the_shards_are_sound(voices, tmp_path):
    annotate_shards(voices, tmp_path / "out")
    old, new = ShardSet.open(voices), ShardSet.open(tmp_path / "out")
    assert [old.audio_bytes(row) for row in range(3)] == [new.audio_bytes(row) for row in range(3)]
    assert check(tmp_path / "out").ok
    again = annotate_shards(tmp_path / "out", tmp_path / "twice")
    assert not again.added and records(tmp_path / "twice") == records(tmp_path / "out")


def test_finished_shards_are_kept_and_a_broken_one_is_made_again(tmp_path):
    source = make_shards(tmp_path)
    annotate_shards(source, tmp_path / "out")
    files = {path: path.read_bytes() for path in sorted((tmp_path / "out").glob("*.tar"))}
    index_path(next(iter(files))).unlink()
    report = annotate_shards(source, tmp_path / "out")
    assert (len(report.written), len(report.kept)) == (1, 2)
    assert {path: path.read_bytes() for path in files} == files


def test_captions_and_voices_get_a_wording_and_transcripts_are_never_sent(voices, tmp_path, serve):
    server = serve(lambda question: '<think>hm</think> A "deep"\nhum' if "caption" in question else "a deep voice")
    report = annotate_shards(voices, tmp_path / "out", endpoint=server.endpoint(key="secret"))
    found = records(tmp_path / "out")
    assert (report.rewritten, report.failures, report.failure_rate) == (3, (), 0.0)
    assert found["hum"]["wordings"] == ["A deep hum"] and found["low"]["wordings"] == ["a deep voice"]
    assert found["low"]["text"] == "one two three four five" and found["low"]["rewritten_by"] == "stub"
    assert not any("one two" in json.dumps(question) for question in server.asked)
    assert server.keys == {"Bearer secret"} and check(tmp_path / "out").ok
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_equal_questions_are_asked_once_and_a_second_run_asks_nothing(tmp_path, serve):
    source = make_shards(tmp_path, num_speech=0, num_sound=6, num_music=6)
    server = serve(lambda question: f"new {question['caption']}")
    annotate_shards(source, tmp_path / "out", endpoint=server.endpoint())
    assert len(server.asked) == 12
    annotate_shards(source, tmp_path / "out", endpoint=server.endpoint())
    annotate_shards(tmp_path / "out", tmp_path / "next", endpoint=server.endpoint())
    assert len(server.asked) == 12 and records(tmp_path / "next") == records(tmp_path / "out")


def test_answers_outlive_an_interruption_even_with_a_torn_last_line(tmp_path, serve):
    source = make_shards(tmp_path, num_speech=0, num_sound=6, num_music=6)

    def interrupt(done, total, name):
        if done == 9:
            raise KeyboardInterrupt

    server = serve(lambda question: f"new {question['caption']}")
    with pytest.raises(KeyboardInterrupt):
        annotate_shards(source, tmp_path / "out", endpoint=server.endpoint(), progress=interrupt)
    next((tmp_path / "out").glob("*.tar")).unlink()
    with (tmp_path / "out" / ANSWERS).open("a") as file:
        file.write('{"id": "torn')
    report = annotate_shards(source, tmp_path / "out", endpoint=server.endpoint())
    assert len(server.asked) == 12 and report.rewritten == 12 and len(report.written) == 2


def test_failures_are_counted_named_and_can_be_tried_again(tmp_path, serve):
    source = make_shards(tmp_path, num_speech=0, num_sound=4, num_music=4)
    server = serve(lambda question: 400 if question["caption"] == "music number 1" else "other words")
    report = annotate_shards(source, tmp_path / "out", endpoint=server.endpoint())
    assert report.rewritten == 7 and report.failure_rate == pytest.approx(1 / 8)
    (failure,) = report.failures
    assert failure.key == "music_1" and "HTTP 400" in failure.reason
    assert "wordings" not in records(tmp_path / "out")["music_1"]
    mended = serve(lambda question: "at last")
    again = annotate_shards(tmp_path / "out", tmp_path / "again", endpoint=mended.endpoint())
    assert again.rewritten == 1 and len(mended.asked) == 1


def test_a_passing_error_is_tried_again(voices, tmp_path, serve):
    seen = set()

    def once_busy(question):
        text = json.dumps(question)
        return "words" if text in seen else seen.add(text) or 503

    report = annotate_shards(voices, tmp_path / "out", endpoint=serve(once_busy).endpoint(num_attempts=2))
    assert report.rewritten == 3 and not report.failures


@pytest.mark.parametrize(("status", "message", "num_finished"), [(401, "refuses", 0), (500, "10 times in a row", 1)])
def test_an_endpoint_that_is_down_or_refuses_stops_the_job(tmp_path, serve, status, message, num_finished):
    # Six clips a shard: the tenth failure in a row is in the second.
    source = make_shards(tmp_path, num_speech=0, num_sound=12, num_music=12)
    server = serve(lambda question: status)
    with pytest.raises(InputError, match=message) as caught:
        annotate_shards(source, tmp_path / "out", endpoint=server.endpoint())
    assert caught.value.where == server.url
    assert len(list((tmp_path / "out").glob("*.tar"))) == num_finished


def test_a_silent_endpoint_and_an_empty_answer_are_failures(voices, tmp_path, serve):
    release = threading.Event()
    server = serve(lambda question: release.wait(5) and "late" if "caption" in question else "  ")
    report = annotate_shards(voices, tmp_path / "out", endpoint=server.endpoint(timeout_seconds=0.3))
    release.set()
    reasons = {failure.key: failure.reason for failure in report.failures}
    assert "timed out" in reasons["hum"] and "0 characters" in reasons["low"] and report.failure_rate == 1.0


def test_one_folder_is_made_in_one_way(voices, tmp_path, serve):
    annotate_shards(voices, tmp_path / "out")
    with pytest.raises(InputError, match="was begun with"):
        annotate_shards(voices, tmp_path / "out", endpoint=serve(lambda question: "x").endpoint())


def test_the_shell_reports_what_was_added_and_the_rate_of_failures(voices, tmp_path, serve, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    server = serve(lambda question: "a hum of a fridge" if "caption" in question else 400)
    words = ["shards", "annotate", str(voices), str(tmp_path / "out"), "--rewrite-url", server.url]
    result = CliRunner().invoke(app, [*words, "--rewrite-model", "m"], prog_name="calm")
    assert result.exit_code == 0, result.output
    assert "1 reworded, 2 failed (66.7%)" in result.stdout and "pitch" in result.stdout and "HTTP 400" in result.stdout
    assert server.keys == {"Bearer from-the-environment"}
    for wrong in ([*words], [*words[:4], "--rewrite-model", "m"], [*words[:4], "--rewrite-url", "file:///etc/hosts"]):
        assert CliRunner().invoke(app, wrong, prog_name="calm").exit_code == 2
