"""Systems in their own environments: what their public interfaces are asked, and what happens when they fail."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from calm.audio import read
from calm.baselines.process import PROGRAMS, loop_command
from calm.errors import ConfigError, InputError
from calm.evaluation.log import item_seed
from calm.registry import build
from tests.baselines import stand_ins
from tests.baselines.requests import log_of, manifest, sounds


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch):
    """What the stand-in was asked, call by call."""
    path = tmp_path / "calls.jsonl"
    monkeypatch.setenv("CALLS", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(name: str, asked, tmp_path: Path, **options):
    return build("baseline", {"name": name, **options}).generate(asked, tmp_path / "out", seed=5)


def tangoflux(tmp_path: Path, *texts: str, **options):
    repo = stand_ins.package(tmp_path / "repo", {"tangoflux/__init__.py": stand_ins.TANGOFLUX})
    return run("tangoflux", sounds(*texts), tmp_path, repo=str(repo), **options)


def test_the_command_line_of_f5_tts_has_exactly_its_flags(tmp_path, calls):
    command = stand_ins.command(tmp_path / "bin/f5-tts_infer-cli", stand_ins.F5_CLI)
    asked = manifest(tmp_path / "m")
    done = run("f5_tts", asked, tmp_path, command=str(command), weights="w.safetensors", device="cpu")
    assert done.made == ("SPEECH0",) and done.passed == ("SOUND0", "MUSIC0")
    (argv,) = (call["argv"] for call in calls())
    folder = argv[argv.index("--output_dir") + 1]
    assert argv == [
        "--model",
        "F5TTS_v1_Base",
        "--ref_audio",
        str(tmp_path / "m/reference.wav"),
        "--ref_text=The words.",
        "--gen_text=-text 0 of speech",
        "--output_dir",
        folder,
        "--output_file",
        "clip.wav",
        "--nfe_step",
        "32",
        "--cfg_strength",
        "2.0",
        "--ckpt_file",
        "w.safetensors",
        "--device",
        "cpu",
    ]
    assert not Path(folder).exists(), "nothing is left behind"
    clip = read(tmp_path / "out/SPEECH0.wav")
    assert (clip.sample_rate, clip.audio.shape) == (24000, (1, 480))


def test_a_command_that_fails_names_the_end_of_its_error_output(tmp_path):
    command = stand_ins.command(tmp_path / "bin/f5", stand_ins.F5_CLI)
    asked = manifest(tmp_path / "m", tasks="speech", per_task=2)
    bad = asked.items[0]
    broken = type(bad)(item=type(bad.item)(**{**vars(bad.item), "text": "fail"}), reference=bad.reference)
    done = run("f5_tts", type(asked)(name="m", items=(broken, asked.items[1])), tmp_path, command=str(command))
    assert done.made == ("SPEECH1",)
    assert done.failed == {"SPEECH0": "the program ended with status 1: the vocoder is missing"}


def test_paths_may_be_relative_to_where_one_is(tmp_path, calls, monkeypatch):
    stand_ins.command(tmp_path / "bin/f5", stand_ins.F5_CLI)
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    asked = manifest(Path("m"), tasks="speech")
    done = run("f5_tts", asked, Path(), command="bin/f5", weights="weights.safetensors")
    assert done.made == ("SPEECH0",) and Path("out/SPEECH0.wav").is_file()
    argv = calls()[0]["argv"]
    assert argv[argv.index("--ckpt_file") + 1] == str(tmp_path / "weights.safetensors")
    assert argv[argv.index("--ref_audio") + 1] == str(tmp_path / "m/reference.wav")


def test_f5_tts_by_its_class_is_loaded_once_and_seeded(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo", {"f5_tts/__init__.py": "", "f5_tts/api.py": stand_ins.F5_API})
    asked = manifest(tmp_path / "m", tasks="speech", per_task=2)
    done = run("f5_tts", asked, tmp_path, repo=str(repo), python=sys.executable)
    assert done.made == ("SPEECH0", "SPEECH1")
    loaded, first, second = calls()
    assert loaded == {"model": "F5TTS_v1_Base", "ckpt_file": "", "vocab_file": "", "device": None}
    assert first["seed"] == item_seed(5, "SPEECH0") != second["seed"]
    assert first["gen_text"] == "-text 0 of speech" and first["ref_text"] == "The words."
    assert (first["nfe_step"], first["cfg_strength"]) == (32, 2.0)
    assert [line["id"] for line in log_of(tmp_path / "out")] == ["SPEECH0", "SPEECH1"]


@pytest.mark.parametrize("words", ["The words.", ""])
def test_cosyvoice_gets_its_instruction_before_the_prompt(tmp_path, calls, words):
    repo = stand_ins.package(
        tmp_path / "repo",
        {
            "cosyvoice/__init__.py": "",
            "cosyvoice/cli/__init__.py": "",
            "cosyvoice/cli/cosyvoice.py": stand_ins.COSYVOICE,
            "third_party/Matcha-TTS/matcha.py": "",
        },
    )
    done = run("cosyvoice3", manifest(tmp_path / "m", tasks="speech", words=words), tmp_path, repo=str(repo))
    assert done.made == ("SPEECH0",), done.failed
    loaded, call = calls()
    assert loaded == {"model_dir": "pretrained_models/Fun-CosyVoice3-0.5B"}
    instruction, text = "You are a helpful assistant.<|endofprompt|>", "-text 0 of speech"
    reference = str(tmp_path / "m/reference.wav")
    if words:
        wanted = {"tts_text": text, "prompt_text": instruction + words, "prompt_wav": reference, "stream": False}
    else:
        wanted = {"tts_text": instruction + text, "prompt_wav": reference, "stream": False}
    assert call == wanted
    assert read(tmp_path / "out/SPEECH0.wav").audio.shape == (1, 960 if words else 480), "pieces are joined"


def test_uniflow_audio_is_asked_by_task(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo", {"inference_cli.py": stand_ins.UNIFLOW})
    done = run("uniflow_audio", manifest(tmp_path / "m"), tmp_path, repo=str(repo))
    assert set(done.made) == {"SPEECH0", "SOUND0", "MUSIC0"}, done.failed
    common = {"model": "UniFlow-Audio-v1.1-XLarge", "guidance": 5.0, "steps": 25}
    assert calls() == [
        {"loaded": "UniFlow-Audio-v1.1-XLarge"},
        {"tts": "-text 0 of speech", "ref": str(tmp_path / "m/reference.wav"), **common},
        {"t2a": "-text 0 of sound", **common},
        {"t2m": "-text 0 of music", **common},
    ]


def test_unimoe_audio_is_asked_by_task_and_needs_the_words_of_the_reference(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo", {"utils/__init__.py": "", "utils/UniMoE_Audio_mod.py": stand_ins.UNIMOE})
    done = run("unimoe_audio", manifest(tmp_path / "m"), tmp_path, repo=str(repo), weights="w")
    assert done.made == ("SPEECH0", "MUSIC0") and done.passed == ("SOUND0",), done.failed
    loaded, speech, music = calls()
    assert loaded == {"model_path": "w", "device_id": 0}
    assert speech["prompt_text"] == "The words." and speech["cfg_scale"] == 1.0
    assert music == {"music": "-text 0 of music", "cfg_scale": 10.0, "temperature": 1.0}
    silent = build("baseline", {"name": "unimoe_audio", "repo": str(repo)}).generate(
        manifest(tmp_path / "n", tasks="speech", words=""), tmp_path / "other"
    )
    assert "needs the words of the reference clip" in silent.failed["SPEECH0"] and len(calls()) == 3


def test_ming_omni_is_asked_as_its_cookbook_does(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo", {"cookbooks/test.py": stand_ins.MING})
    done = run("ming_omni", manifest(tmp_path / "m"), tmp_path, repo=str(repo), device="cpu")
    assert set(done.made) == {"SPEECH0", "SOUND0", "MUSIC0"}, done.failed
    loaded, speech, sound, music = calls()
    assert loaded == {"model_path": "inclusionAI/Ming-omni-tts-0.5B", "device": "cpu"}
    assert speech["use_spk_emb"] is True and speech["prompt_text"] == "The words." and speech["output_wav_path"] is None
    assert (sound["cfg"], sound["sigma"], sound["temperature"]) == (4.5, 0.3, 2.5)
    assert sound["prompt"] == "Please generate audio events based on given text.\n"
    assert music["text"] == " -text 0 of music Duration: 0.02s." and music["steps"] == 400


def test_uniaudio_runs_its_script_once_with_exactly_its_flags(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo")
    stand_ins.command(repo / "UniAudio/infer.py", stand_ins.UNIAUDIO)
    (tmp_path / "data.json").write_text(json.dumps(["SPEECH0", "SOUND0"]))
    options = {"repo": str(repo), "data_json": str(tmp_path / "data.json"), "exp_dir": str(tmp_path / "exp")}
    done = run("uniaudio", manifest(tmp_path / "m"), tmp_path, **options)
    assert done.made == ("SPEECH0", "SOUND0")
    assert done.failed == {"MUSIC0": "the script wrote no file of this id"}
    (call,) = calls()
    flags = dict(zip(call["argv"][::2], call["argv"][1::2], strict=True))
    assert flags.pop("--output_dir")
    assert call["cwd"] == str(repo / "UniAudio")
    assert flags == {
        "--exp_dir": str(tmp_path / "exp"),
        "--rank": "0",
        "--inference_mode": "sampling",
        "--n_samples": "1",
        "--seed": str(item_seed(5, "SPEECH0")),
        "--data_json": str(tmp_path / "data.json"),
        "--generate_target": "audio",
        "--fixed_length": "False",
        "--maxlen_ratio": "7",
        "--minlen_ratio": "0.5",
    }


def test_tangoflux_is_asked_for_its_steps_and_the_wanted_duration(tmp_path, calls):
    done = tangoflux(tmp_path, "A bell.", max_seconds=0.01)
    assert done.made == ("S0",)
    assert calls()[1] == {"prompt": "A bell.", "steps": 50, "duration": 0.01, "guidance_scale": 4.5}
    clip = read(tmp_path / "out/S0.wav")
    assert (clip.sample_rate, clip.audio.shape) == (44100, (2, 480))


def test_a_run_goes_on_where_it_was_stopped(tmp_path, calls):
    assert tangoflux(tmp_path, "one", "raise", "three").failed == {"S1": "RuntimeError: out of memory"}
    before = (tmp_path / "out/S0.wav").read_bytes()
    done = tangoflux(tmp_path, "one", "two", "three", "four")
    assert (done.kept, done.made) == (("S0", "S2"), ("S1", "S3"))
    assert (tmp_path / "out/S0.wav").read_bytes() == before
    prompts = [call["prompt"] for call in calls() if "prompt" in call]
    assert prompts == ["one", "raise", "three", "two", "four"]
    assert tangoflux(tmp_path, "one").made == () and len([call for call in calls() if "pid" in call]) == 2


def test_clips_are_the_same_whatever_came_before_them(tmp_path):
    tangoflux(tmp_path / "a", "one", "two")
    tangoflux(tmp_path / "b", "raise", "two")
    one, other = (read(tmp_path / folder / "out/S1.wav").audio for folder in "ab")
    assert torch.equal(one, other), "the stand-in draws from numpy's global generator"


def test_a_program_that_ends_is_started_again_for_the_rest(tmp_path, calls):
    done = tangoflux(tmp_path, "one", "exit", "three")
    assert done.made == ("S0", "S2")
    assert done.failed == {"S1": "the program ended with status 3: segmentation fault"}
    assert len([call for call in calls() if "pid" in call]) == 2


def test_a_program_that_blocks_is_ended_and_started_again(tmp_path, calls):
    done = tangoflux(tmp_path, "block", "two", timeout_seconds=0.5)
    assert (done.made, done.failed) == (("S1",), {"S0": "no clip in time"})
    for call in calls():
        if "pid" in call:
            with pytest.raises(ProcessLookupError):
                os.kill(call["pid"], 0)


def test_a_system_that_cannot_be_loaded_is_one_error_with_its_reason(tmp_path):
    with pytest.raises(ConfigError, match=r"TangoFlux could not be started: .*no such weights"):
        tangoflux(tmp_path, "one", weights="broken")
    assert tangoflux(tmp_path, "one").made == ("S0",), "a folder without clips may take other settings"
    with pytest.raises(ConfigError, match="could not be started: no clip in time"):
        tangoflux(tmp_path / "slow", "one", weights="slow", start_seconds=0.5)
    with pytest.raises(ConfigError, match="cannot be run"):
        run("f5_tts", manifest(tmp_path / "m"), tmp_path / "gone", command=str(tmp_path / "no-such-command"))


@pytest.mark.parametrize("name", ["cosyvoice3", "uniflow_audio", "unimoe_audio", "ming_omni", "uniaudio"])
def test_a_system_of_a_checkout_says_that_it_needs_one(name, tmp_path):
    with pytest.raises(ConfigError) as caught:
        run(name, manifest(tmp_path / "m"), tmp_path)
    assert "git clone https://github.com/" in caught.value.hint


def test_speech_without_a_reference_is_named_and_not_asked_for(tmp_path, calls):
    repo = stand_ins.package(tmp_path / "repo", {"inference_cli.py": stand_ins.UNIFLOW})
    asked = manifest(tmp_path / "m")
    (tmp_path / "m/reference.wav").unlink()
    done = run("uniflow_audio", asked, tmp_path, repo=str(repo))
    assert done.failed == {"SPEECH0": "the reference clip reference.wav is missing"}
    assert set(done.made) == {"SOUND0", "MUSIC0"} and not any("tts" in call for call in calls())


def test_one_folder_holds_one_system_with_one_set_of_choices(tmp_path):
    tangoflux(tmp_path, "one")
    with pytest.raises(InputError, match="clips of another system"):
        tangoflux(tmp_path, "one", num_steps=25)
    assert tangoflux(tmp_path, "one", timeout_seconds=9.0).kept == ("S0",), "where it runs may change"


def test_a_program_is_run_by_a_list_of_arguments(tmp_path):
    command = loop_command("python3", "tangoflux", work=tmp_path, options={"weights": "a; b"})
    assert command[:2] == ["python3", str(PROGRAMS / "loop.py")] and command[-1] == '{"weights": "a; b"}'
    assert {path.stem for path in PROGRAMS.glob("*.py")} > {"loop", "f5_tts", "cosyvoice3", "tangoflux"}
