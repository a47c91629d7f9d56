"""CosyVoice 3 by its repository's Python class (AutoModel, as in the repository's example.py)."""

from __future__ import annotations

import os
import sys

#: the model was trained with it before every prompt
INSTRUCTION = "You are a helpful assistant.<|endofprompt|>"


def load(options):
    sys.path.insert(0, os.path.join(options["repo"], "third_party", "Matcha-TTS"))
    from cosyvoice.cli.cosyvoice import AutoModel

    model = AutoModel(model_dir=options["weights"])

    def make(task):
        import torch

        if task["reference_text"]:
            words = INSTRUCTION + task["reference_text"]
            pieces = model.inference_zero_shot(task["text"], words, task["reference"], stream=False)
        else:
            # The interface that does without the words of the reference.
            pieces = model.inference_cross_lingual(INSTRUCTION + task["text"], task["reference"], stream=False)
        return torch.cat([piece["tts_speech"] for piece in pieces], dim=-1), model.sample_rate

    return make
