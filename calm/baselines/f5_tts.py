"""F5-TTS (Chen et al., 2024, arXiv 2410.06885): zero-shot speech by flow matching."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.audio import read
from calm.baselines.base import About, Outcome, Request, reported, spoken
from calm.baselines.process import Foreign, here, run_command
from calm.errors import DataError
from calm.registry import register
from calm.types import Task

__all__ = ["F5TTS"]


@register("baseline", "f5_tts")
class F5TTS(Foreign):
    """F5-TTS: zero-shot speech; by `f5-tts_infer-cli`, or by its Python class where `python` is given.

    The command loads the weights for each clip and has no option for a seed, so its ``seconds_taken`` include loading,
    and its clips differ from run to run. With ``python`` (of an environment with the wheel) one process makes all clips,
    seeded. Where the words of a reference are not known, the package transcribes it by a recogniser.

    Verified against the wheel f5-tts 1.1.22: the flags of ``f5_tts/infer/infer_cli.py``, ``f5_tts.api.F5TTS``. Licences:
    the readme of SWivid/F5-TTS. Not run with real weights here.
    """

    about = About(
        title="F5-TTS",
        url="https://github.com/SWivid/F5-TTS",
        code_licence="MIT",
        weights_licence="CC-BY-NC",
        scope="speech",
        interface="f5-tts_infer-cli, or the Python class of `pip install f5-tts`",
    )
    published = reported(libritts=spoken(0.033, 0.616, 3.85), seed_tts_en=spoken(0.018, 0.648, 3.78))
    tasks = (Task.SPEECH,)
    program, needs_repo = "f5_tts", False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["f5_tts"] = "f5_tts"
        python: str = ""
        repo: str = ""
        command: str = "f5-tts_infer-cli"
        model: str = "F5TTS_v1_Base"
        weights: str = ""
        vocab_file: str = ""
        num_steps: int = 32
        guidance: float = 2.0
        device: str = ""
        start_seconds: float = 1800.0
        timeout_seconds: float = 600.0

    def options(self) -> dict[str, Any]:
        names = ("model", "weights", "vocab_file", "num_steps", "guidance", "device")
        return {name: getattr(self.config, name) for name in names}

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        return super().run(requests) if self.config.python else self._run_commands(requests)

    def command(self, request: Request, folder: Path) -> list[str]:
        """The command line for one clip, ``folder/clip.wav``. Texts are joined by ``=``: one may begin with a hyphen."""
        config = self.config
        files = {"--ckpt_file": here(config.weights), "--vocab_file": here(config.vocab_file)}
        optional = {**files, "--device": config.device}
        return [
            config.command,
            "--model",
            config.model,
            "--ref_audio",
            str(request.reference),
            f"--ref_text={request.reference_text}",
            f"--gen_text={request.text}",
            "--output_dir",
            str(folder),
            "--output_file",
            "clip.wav",
            "--nfe_step",
            str(config.num_steps),
            "--cfg_strength",
            str(config.guidance),
            *(word for flag, value in optional.items() if value for word in (flag, value)),
        ]

    def _run_commands(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        for request in requests:
            with tempfile.TemporaryDirectory() as name:
                folder, began = Path(name), time.perf_counter()
                command = self.command(request, folder)
                try:
                    run_command(command, cwd=folder, work=folder, timeout_seconds=self.config.timeout_seconds)
                    taken = time.perf_counter() - began
                    yield Outcome(id=request.id, clip=read(folder / "clip.wav"), seconds_taken=taken)
                except DataError as error:
                    yield Outcome(id=request.id, reason=error.what)
