"""`calm serve` before it serves, and the page that it serves."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.serving.app import PAGE, make_app
from calm.serving.limits import Limits
from tests.serving.http_lab import Lab


def run(*words: str, **environment: str):
    return CliRunner().invoke(app, ["serve", *words], env={"COLUMNS": "200", **environment})


def test_show_tells_the_settings_and_no_key(tmp_path: Path):
    keys = tmp_path / "keys.txt"
    keys.write_text("# ours\nsecret-one\n\n  # indented\n\t secret-two\n")
    shown = run("--show", "--max-running", "3", "--api-key-file", str(keys), "--host", "0.0.0.0", AUDIOCALM_API_KEY="secret-three")
    assert shown.exit_code == 0
    for line in (r"max_running\s+3", r"api_keys\s+3 keys", r"allowed_hosts\s+\*", r"drain_seconds\s+20"):
        assert re.search(line, shown.output), line
    assert "secret" not in shown.output


def test_a_server_for_this_machine_answers_to_its_names_only():
    assert re.search(r"allowed_hosts\s+localhost, 127.0.0.1", run("--show").output)


def test_a_port_that_is_taken_is_one_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run("--port", str(port))
    assert refused.exit_code == 2
    assert "cannot listen" in refused.output and "--port" in refused.output and "Traceback" not in refused.output


@pytest.mark.parametrize("words", [["--model", "nothing"], ["--api-key-file", "nowhere.txt"], ["--provenance", "some"], ["--max-seconds", "0"]])
def test_a_wrong_option_is_one_clear_error(words: list[str]):
    refused = run(*words)
    assert refused.exit_code == 2 and refused.output.strip()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else object())
    refused = run("--show")
    assert refused.exit_code == 2
    assert 'pip install "audiocalm[serve]"' in refused.output


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_page_loads_nothing_from_elsewhere_and_needs_no_key(lab: Lab, tmp_path: Path, anyio_backend: str):
    (tmp_path / "index.html").write_text("<p>hello")
    (tmp_path / "page.css").write_text("p {}")
    transport = httpx.ASGITransport(make_app(lab.service, page=tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get("/")
        assert (page.status_code, page.text) == (200, "<p>hello")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/page.css")).headers["content-type"].startswith("text/css")
        assert (await client.get("/../app.py")).json()["error"]["type"] == "not_found_error"
        assert (await client.get("/v1/models")).status_code == 200


def test_the_page_and_the_schema_allow_as_many_steps_as_the_engine(lab: Lab):
    most = Limits().max_steps
    fields = httpx.get(f"{lab.url}/openapi.json").json()["components"]["schemas"]["SpeechRequest"]["properties"]
    assert fields["steps"]["anyOf"][0]["maximum"] == most
    (field,) = re.findall(r'<input id="steps"[^>]*>', (PAGE / "index.html").read_text())
    assert f'max="{most}"' in field
