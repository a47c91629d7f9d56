"""P11: whole processes, from the command line to a WAV of 10 s: wall and processor time, and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.ratios.ours import TEXT, build, config_of
from benchmarks.ratios.peers import pocket
from benchmarks.ratios.readings import Goal, Reading, compare, peer_module, row
from calm.model.checkpoint import save_pretrained

WAV_SECONDS = 10.0


#: A small process between: what one spawns counts its parent's memory as its own peak.
_LAUNCH = """
import os, sys, time
policy, priority, *words = sys.argv[1:]
silence = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
scheduler = (int(policy), os.sched_param(int(priority)))
started = time.perf_counter()
child = os.posix_spawn(words[0], words, os.environ, file_actions=silence, scheduler=scheduler)
_, status, used = os.wait4(child, 0)
sys.exit(f"status {status}") if status else print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
"""


def run(words: Sequence[str]) -> tuple[float, ...]:
    """Seconds of the clock and of the processor, and peak MB, of a process at this one's priority. Raises CalledProcessError where it fails."""
    surrounding = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    scheduler = [str(os.sched_getscheduler(0)), str(os.sched_getparam(0).sched_priority)]
    launch = [sys.executable, "-S", "-c", _LAUNCH, *scheduler, *words]
    done = subprocess.run(launch, stdout=subprocess.PIPE, env=surrounding, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def our_command(folder: Path) -> list[str]:
    """`calm generate` in int8 with 4 steps in one branch, of an export in 16 bits, without a record of origin beside."""
    import torch

    save_pretrained(folder / "ours", model=build("77m", "fp32").model, config=config_of("77m"), dtype=torch.bfloat16)
    options = ["--task", "sound", "--duration", str(WAV_SECONDS), "--steps", "4", "--cfg-scale", "1", "--precision", "int8"]
    places = ["--model", str(folder / "ours"), "-o", str(folder / "ours.wav"), "--provenance", "none"]
    return [sys.executable, "-m", "calm", "generate", TEXT, *options, *places]


def peer_command(folder: Path) -> list[str]:
    """`pocket-tts generate --quantize` with weights and a voice's state on disk."""
    export = peer_module("pocket_tts.models.model_state", install=pocket.INSTALL).export_model_state
    model = peer_module("pocket_tts", install=pocket.INSTALL).TTSModel.load_model(config=pocket.write_config("77m", folder))
    _, voice = pocket.build("77m")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "peer.safetensors")
    export(voice, folder / "voice.safetensors")
    config = pocket.write_config("77m", folder, weights=folder / "peer.safetensors")
    words = ["--text", pocket.text(WAV_SECONDS), "--config", str(config), "--voice", str(folder / "voice.safetensors"), "--quantize", "-q"]
    ends = ["--eos-threshold", "inf", "--output-path", str(folder / "peer.wav")]
    return [sys.executable, "-m", "pocket_tts", "generate", *words, *ends]


@row("P11")
def whole_process(rounds: int) -> Iterator[Reading]:
    """Wall time, processor time and peak memory of our process over pocket-tts's, bodies of 77 M."""
    with tempfile.TemporaryDirectory() as name:
        commands = {"ours": our_command(Path(name)), "peer": peer_command(Path(name))}
        found: dict[str, list[tuple[float, ...]]] = {key: [] for key in commands}
        for _ in range(rounds):  # the files have just been written: they are in memory from the first round on
            for key, words in commands.items():
                found[key].append(run(words))
    for index, (key, unit, goal) in enumerate((("wall", "s", 0.5), ("processor", "s", None), ("memory", "MB", 0.7))):
        ours, peer = ([one[index] for one in found[name]] for name in ("ours", "peer"))
        yield Reading(
            row="P11",
            key=f"P11 {key}",
            what=f"text to a WAV of 10 s, whole process, 77 M, {key}: ours / peer",
            ours=f"{statistics.median(ours):.3g} {unit}",
            peer=f"pocket-tts int8 {statistics.median(peer):.3g} {unit}",
            **compare(ours, peer),
            goal=None if goal is None else Goal(sense="<=", value=goal),
        )
