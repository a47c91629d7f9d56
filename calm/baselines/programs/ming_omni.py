"""Ming-omni-tts by the class of its repository's cookbooks/test.py (MingAudio), with that file's settings."""

from __future__ import annotations

import importlib.util
import os

SPEECH = "Please generate speech based on the following description.\n"
SOUND = "Please generate audio events based on given text.\n"
MUSIC = "Please generate music based on the following description.\n"


def load(options):
    path = os.path.join(options["repo"], "cookbooks", "test.py")
    spec = importlib.util.spec_from_file_location("ming_cookbook", path)
    cookbook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cookbook)
    model = cookbook.MingAudio(options["weights"], device=options["device"])

    def make(task):
        return model.speech_generation(output_wav_path=None, **request(task)), model.sample_rate

    return make


def request(task):
    if task["task"] == "speech":
        return {
            "prompt": SPEECH,
            "text": task["text"],
            "use_spk_emb": True,
            "prompt_wav_path": task["reference"],
            "prompt_text": task["reference_text"],
            "max_decode_steps": 200,
        }
    if task["task"] == "sound":
        return {
            "prompt": SOUND,
            "text": task["text"],
            "max_decode_steps": 200,
            "cfg": 4.5,
            "sigma": 0.3,
            "temperature": 2.5,
        }
    # The cookbook gives the duration as the last field of the description.
    duration = " Duration: {:g}s.".format(task["seconds"]) if task["seconds"] else ""
    return {"prompt": MUSIC, "text": " " + task["text"] + duration, "max_decode_steps": 400}
