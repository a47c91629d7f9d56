"""UniMoE-Audio by its folder's Python class (utils.UniMoE_Audio_mod.UniMoEAudio)."""

from __future__ import annotations


def load(options):
    from utils.UniMoE_Audio_mod import UniMoEAudio

    model = UniMoEAudio(model_path=options["weights"], device_id=options["device_id"])

    def make(task):
        common = {"caption": task["text"], "save_name": task["id"], "output_dir": task["out"], "temperature": 1.0}
        if task["task"] == "speech":
            paths = model.text_to_speech(
                prompt_text=task["reference_text"],
                prompt_wav=task["reference"],
                cfg_scale=options["speech_guidance"],
                **common,
            )
        else:
            paths = model.text_to_music(cfg_scale=options["music_guidance"], **common)
        if not paths:
            raise RuntimeError("the system gave no file")
        return paths[0]

    return make
