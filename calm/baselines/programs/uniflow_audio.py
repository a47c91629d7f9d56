"""UniFlow-Audio by its repository's command line class (inference_cli.InferenceCLI), loaded once."""

from __future__ import annotations

import os


def load(options):
    from inference_cli import InferenceCLI

    command_line = InferenceCLI()
    command_line.on_inference_start(options["weights"])

    def make(task):
        path = os.path.join(task["out"], task["id"] + ".wav")
        common = {
            "model_name_or_path": options["weights"],
            "guidance_scale": options["guidance"],
            "num_steps": options["num_steps"],
            "output_path": path,
        }
        if task["task"] == "speech":
            command_line.tts(transcript=task["text"], ref_speaker_speech=task["reference"], **common)
        elif task["task"] == "sound":
            command_line.t2a(caption=task["text"], **common)
        else:
            command_line.t2m(caption=task["text"], **common)
        return path

    return make
