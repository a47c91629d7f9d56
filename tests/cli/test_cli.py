"""The `calm` command: what the shell sees. Verbs that train and generate are tested with their packages."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys

import pytest
import soundfile as sf
from typer.testing import CliRunner

from calm.cli import app
from calm.cli.prompts import numbered, read_batch_file
from calm.errors import CalmError, InputError
from calm.types import Task
from tests.processes import processor_seconds

VERBS = ["train", "doctor", "launch", "generate", "ablate", "demo", "page", "corpus", "shards", "consent", "components"]
VERBS += ["export", "models", "listen", "detect"]
BASE = ["model=ar_flow", "backbone=transformer"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def calm(*words):
    return CliRunner().invoke(app, list(words), prog_name="calm")


def failing(error):
    """Replace the verb's work by an error, as it would come from below."""

    def work(*args, **kwargs):
        raise error

    return work


def test_help_lists_every_verb_in_under_a_second():
    def ask() -> None:
        done = subprocess.run([sys.executable, "-m", "calm", "--help"], capture_output=True, text=True, check=True)
        assert all(verb in done.stdout for verb in VERBS)

    assert any(processor_seconds(ask) < 1.0 for _ in range(3))


def test_help_imports_no_torch():
    code = (
        "import sys, calm.cli; sys.exit(bool({'torch', 'lightning', 'transformers', 'omegaconf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("verb", [["train"], ["generate"], ["corpus"], ["shards", "pack"], ["consent", "new"]])
def test_every_verb_explains_itself(verb):
    result = calm(*verb, "-h")
    assert result.exit_code == 0 and "Usage" in result.output


@pytest.mark.parametrize("words", [["generat"], ["shards", "chek"], ["generate", "--taks", "x"], ["components", "hed"]])
def test_misspelt_words_get_a_suggestion(words):
    result = calm(*words)
    assert result.exit_code == 2
    assert "Did you mean" in result.output or "--task" in result.output


def test_an_input_error_is_one_message_without_traceback():
    result = calm("train", "backbon=qwen3")
    assert result.exit_code == 2
    assert "Did you mean 'backbone'" in result.stderr and "command line" in result.stderr
    assert "Traceback" not in result.output and result.stdout == ""


def test_show_prints_a_config_that_loads(here):
    result = calm("train", *BASE, "seed=5", "--show")
    assert result.exit_code == 0 and "# command line" in result.stdout
    (here / "shown.yaml").write_text(result.stdout)
    again = calm("train", "config=shown.yaml", "--show")
    assert again.exit_code == 0 and "seed: 5" in again.stdout


def test_show_keeps_long_lines_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    result = calm("train", *BASE, "--show")
    assert any(len(line) > 100 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CalmError("No.", where="here", hint="Do it otherwise."), 2, "Do it otherwise."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "x.flac"), 1, "no space left on the disk (x.flac)"),
    ],
)
def test_each_kind_of_failure_has_its_code_and_one_message(monkeypatch, error, code, words):
    monkeypatch.setattr("calm.data.check.check", failing(error))
    result = calm("shards", "check", "x")
    assert result.exit_code == code
    assert words in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_training_that_was_stopped_by_a_signal_says_so_by_its_code(monkeypatch, number, code):
    error = CalmError("Training was interrupted")
    error.signal_number = number
    monkeypatch.setattr("calm.data.check.check", failing(error))
    assert calm("shards", "check", "x").exit_code == code


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("calm.data.check.check", failing(ZeroDivisionError("ours")))
    assert isinstance(calm("shards", "check", "x").exception, ZeroDivisionError)


def test_components_lists_names_with_one_line_each():
    result = calm("components", "backbone")
    assert result.exit_code == 0
    assert "transformer" in result.stdout and "qwen3" in result.stdout and "rectified_flow" not in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "TEXT"),
        (["hi", "--text", "hi"], "TEXT and --text are the same"),
        (["hi", "--task", "noise"], "speech, sound, music"),
        (["--text", "hi", "--task", "speach"], "Did you mean 'speech'"),
        (["--text", "hi", "--batch-file", "x.txt"], "one of TEXT and --batch-file"),
        (["--batch-file", "x.txt"], "x.txt"),
        (["--text", "hi", "--task", "speech", "--model", "nowhere"], "nowhere"),
        (["--text", "hi", "--task", "speech", "--ref-audio", "a.wav"], "calm consent new"),
        (["--text", "hi", "--task", "speech", "--consent", "a.json"], "--ref-audio"),
        (["--text", "hi", "--task", "sound", "-o", "x.xyz"], ".flac"),
    ],
)
def test_generate_refuses_bad_words_before_it_loads_a_model(words, expected):
    result = calm("generate", *words)
    assert result.exit_code == 2
    assert expected in result.stderr


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A model with random weights, exported as a run exports it."""
    import torch

    from calm.config import load_config
    from calm.model.build import build_model
    from calm.model.checkpoint import save_pretrained

    parts = ["vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]
    config = load_config(["model=ar_flow", *parts, "sampler.num_steps=2", "sampler.max_seconds=0.5"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config)
    return save_pretrained(tmp_path_factory.mktemp("model"), model=model, config=config)


def test_generate_writes_a_stamped_file_and_prints_its_speed(export, here):
    from calm import audio

    words = ["--prompt", "A bell.", "--task", "sound", "--duration", "0.5", "--seed", "7", "--cfg-strength", "1.5"]
    result = calm("generate", *words, "--model", str(export), "--device", "cpu", "-o", "bell.wav")
    assert result.exit_code == 0, result.output
    assert "RTF" in result.stdout and "seed 7" in result.stdout
    assert audio.info(here / "bell.wav").seconds == pytest.approx(0.5)
    record = audio.read_provenance(here / "bell.wav")
    assert (record.seed, record.task) == (7, "sound")


def test_generate_in_another_precision_names_its_dearest_operations(export, here):
    words = ["a bell", "--task", "sound", "--duration", "0.1", "--model", str(export), "--device", "cpu"]
    result = calm("generate", *words, "--precision", "bf16", "--profile", "-o", "bell.wav")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(" calls, ") == 5 and (here / "bell.wav").is_file()


def test_generate_refuses_a_precision_that_it_does_not_know(export, here):
    result = calm("generate", "a bell", "--model", str(export), "--precision", "int4")
    assert result.exit_code == 2 and "Did you mean 'int8'" in result.stderr


def test_a_batch_gives_the_clips_of_its_single_prompts(export, here):
    from calm import audio

    (here / "prompts.jsonl").write_text('{"text": "rain"}\n{"text": "a bell"}\n{"text": "hi", "task": "speech"}\n')
    words = ["generate", "--task", "sound", "--duration", "0.5", "--model", str(export)]
    result = calm(*words, "--batch-file", "prompts.jsonl", "-o", "clips")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (here / "clips").glob("*.wav")) == ["0000.wav", "0001.wav", "0002.wav"]
    assert len(list((here / "clips").iterdir())) == 2 * 3  # each with its sidecar
    assert calm(*words, "--text", "a bell", "--seed", "1", "-o", "one.wav").exit_code == 0
    batched, single = audio.read(here / "clips" / "0001.wav"), audio.read(here / "one.wav")
    assert float((batched.audio - single.audio).abs().max()) < 1e-3


def test_a_reference_voice_is_used_with_its_own_consent_only(export, here):
    _write_clip(here / "me.wav", level=0.5)
    _write_clip(here / "you.wav", level=0.3)
    new = ["consent", "new", "--ref-audio", "me.wav", "--who", "Me", "--purpose", "tests", "--expires", "2999-01-01"]
    assert calm(*new, "-o", "me.json").exit_code == 0
    words = ["generate", "--text", "Hello.", "--task", "speech", "--duration", "0.5", "--model", str(export)]
    assert calm(*words, "--ref-audio", "me.wav", "--consent", "me.json", "-o", "a.wav").exit_code == 0
    refused = calm(*words, "--ref-audio", "you.wav", "--consent", "me.json", "-o", "b.wav")
    assert refused.exit_code == 2 and "not the one" in refused.stderr
    assert not (here / "b.wav").exists()


def test_consent_is_written_for_a_clip(here):
    from calm.safety import Consent

    _write_clip(here / "me.wav", level=0.5)
    words = ["consent", "new", "--ref-audio", "me.wav", "--who", "Me", "--purpose", "tests", "-o", "me.json"]
    assert calm(*words, "--expires", "2999-01-01").exit_code == 0
    assert Consent.load(here / "me.json").who == "Me"
    assert "YYYY-MM-DD" in calm(*words, "--expires", "tomorrow").stderr


def _write_clip(path, *, level):
    import torch

    from calm import audio
    from calm.types import Waveform

    audio.write(path, Waveform(audio=torch.linspace(-level, level, 16000)[None], sample_rate=16000), provenance=None)


def test_a_batch_file_gives_one_prompt_a_line(here):
    path = here / "prompts.txt"
    path.write_text("a bell\n\n  rain  \n")
    prompts = read_batch_file(path, task="sound", duration=2.0)
    assert [prompt.text for prompt in prompts] == ["a bell", "rain"]
    assert prompts[0].options() == {"task": Task.SOUND, "duration": 2.0}


def test_a_jsonl_line_overrides_the_command_line(here):
    path = here / "prompts.jsonl"
    path.write_text('{"text": "hi", "task": "speech", "voice": "low"}\n{"text": "a bell"}\n')
    first, second = read_batch_file(path, task="sound", duration=2.0)
    assert first.options() == {"task": Task.SPEECH, "duration": 2.0, "voice": "low"}
    assert second.options() == {"task": Task.SOUND, "duration": 2.0}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line 2"),
        ('{"txt": "a"}', "`text`"),
        ('{"text": "a", "durration": 3}', "Did you mean 'duration'"),
        ('{"text": "a", "duration": "long"}', "'duration' cannot be 'long'"),
        ('{"text": "a", "task": "musik"}', "Did you mean 'music'"),
        ('{"text": "a"}', "no task"),
    ],
)
def test_a_bad_jsonl_line_is_named(here, line, expected):
    path = here / "prompts.jsonl"
    path.write_text(json.dumps({"text": "fine", "task": "sound"}) + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2") as caught:
        read_batch_file(path, task=None)
    assert expected in str(caught.value)


def test_outputs_of_a_batch_are_numbered(tmp_path):
    assert [path.name for path in numbered(tmp_path / "clips.flac", 2)] == ["clips-0000.flac", "clips-0001.flac"]
    assert numbered(tmp_path / "clips", 1) == [tmp_path / "clips" / "0000.wav"]


def test_corpus_takes_shares_of_tasks_and_scenes(tmp_path):
    words = ["corpus", str(tmp_path / "out"), "--seconds", "30", "--task-shares", "sound=1", "--scene-shares"]
    assert "'single' is no list of shares" in calm(*words, "single").output
    result = calm(*words, "single=1, overlap=3")
    assert result.exit_code == 0, result.output
    assert "sound" in result.output and "speech" not in result.output


def test_corpus_takes_the_lengths_of_pieces(tmp_path):
    words = ["corpus", str(tmp_path / "out"), "--seconds", "30", "--task-shares", "music=1", "--music-seconds"]
    assert "'2' is no range of seconds" in calm(*words, "2").output
    assert "`music_seconds` is (0.5, 2.0)" in calm(*words, "0.5,2").output
    result = calm(*words, "1,2")
    assert result.exit_code == 0, result.output
    pieces = [sf.info(path).duration for path in (tmp_path / "out").glob("*/music/*")]
    assert len(pieces) > 15 and max(pieces) < 2.5
