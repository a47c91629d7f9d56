"""UniAudio (Yang et al., 2023, arXiv 2310.00704): a language model over audio tokens for many tasks."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calm.audio import read
from calm.baselines.base import About, Baseline, Outcome, Request, captioned, reported, spoken
from calm.baselines.process import run_command
from calm.errors import CalmError, ConfigError, DataError
from calm.registry import register
from calm.types import TASKS

__all__ = ["UniAudio"]


@register("baseline", "uniaudio")
class UniAudio(Baseline):
    """UniAudio: speech, sound and music, by the inference script of its repository on prepared tokens.

    Its script reads token files that stages 2 to 4 of a recipe (``egs/TTS/run.sh``) make of phones and prompts, keyed by
    the manifest's ids; `data_json` is the file that they write. One call makes all items, so ``seconds_taken`` is the
    mean. The repository shows the recipe of speech alone; a checkpoint of all tasks was not found.

    Verified against ``UniAudio/infer.py`` (flags, names of its files) and ``egs/TTS/run.sh`` (values of the flags; it
    calls the script by another name). Code licence: its readme. Not run with real weights here.
    """

    about = About(
        title="UniAudio",
        url="https://github.com/yangdongchao/UniAudio",
        code_licence="MIT",
        weights_licence="unknown",
        scope="unified",
        interface="inference script of the repository on token files of its recipe",
    )
    published = reported(
        libritts=spoken(0.120, 0.265, 3.30),
        seed_tts_en=spoken(0.113, 0.363, 3.22),
        audiocaps=captioned(6.64, 0.13, 3.20, 2.95),
        song_describer=captioned(11.25, 0.06, 2.80, 2.65),
    )
    tasks = TASKS

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["uniaudio"] = "uniaudio"
        python: str = ""
        repo: str = ""
        weights: str = ""
        exp_dir: str = ""
        data_json: str = ""
        device: int = 0
        timeout_seconds: float = 86_400.0

    def command(self, requests: Sequence[Request], folder: Path) -> list[str]:
        """The command line for all clips of the prepared file. The seed is that of the first request."""
        config = self.config
        return [
            config.python or sys.executable,
            "infer.py",
            "--exp_dir",
            str(Path(config.exp_dir).resolve()),
            *(["--resume", str(Path(config.weights).resolve())] if config.weights else []),
            "--rank",
            str(config.device),
            "--inference_mode",
            "sampling",
            "--n_samples",
            "1",
            "--seed",
            str(requests[0].seed),
            "--data_json",
            str(Path(config.data_json).resolve()),
            "--generate_target",
            "audio",
            "--fixed_length",
            "False",
            "--maxlen_ratio",
            "7",
            "--minlen_ratio",
            "0.5",
            "--output_dir",
            str(folder),
        ]

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        script = Path(self.config.repo) / "UniAudio" / "infer.py"
        for path, option in ((script, "repo"), (Path(self.config.data_json), "data_json")):
            if not path.is_file():
                raise ConfigError(
                    f"UniAudio needs its `{option}`",
                    where=path,
                    hint=f"git clone {self.about.url}; make data_json by stages 2 to 4 of a recipe, keyed by the ids",
                )
        with tempfile.TemporaryDirectory() as name:
            folder, began = Path(name), time.perf_counter()
            reason = ""
            try:
                timeout = self.config.timeout_seconds
                run_command(self.command(requests, folder), cwd=script.parent, work=folder, timeout_seconds=timeout)
            except DataError as error:
                reason = error.what
            found = {request.id: folder / f"{request.id}_sampling_sample0.wav" for request in requests}
            if reason and not any(path.is_file() for path in found.values()):
                raise ConfigError(f"UniAudio made nothing: {reason}", where=script)
            taken = (time.perf_counter() - began) / max(1, sum(path.is_file() for path in found.values()))
            for id, path in found.items():
                yield _outcome(id, path, taken=taken, reason=reason or "the script wrote no file of this id")


def _outcome(id: str, path: Path, *, taken: float, reason: str) -> Outcome:
    if not path.is_file():
        return Outcome(id=id, reason=reason)
    try:
        return Outcome(id=id, clip=read(path), seconds_taken=taken)
    except CalmError as error:
        return Outcome(id=id, reason=error.what)
