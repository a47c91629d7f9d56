"""Stand-ins of other systems: the classes and commands that their public code has, which record how they are called.

Each takes exactly the arguments of the real interface (as their sources were read), and gives a short tone.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

TONE = """
import json, os, sys
import numpy as np

RATE = 24000

def record(**call):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps(call) + "\\n")

def tone():
    return 0.1 * np.sin(np.arange(480) / 3).astype("float32")

def write(path):
    import soundfile
    soundfile.write(path, tone(), RATE)
"""

F5_API = """
from tone import RATE, record, tone

class F5TTS:
    def __init__(self, model, ckpt_file, vocab_file, device):
        record(model=model, ckpt_file=ckpt_file, vocab_file=vocab_file, device=device)

    def infer(self, ref_file, ref_text, gen_text, nfe_step, cfg_strength, seed):
        record(ref_file=ref_file, ref_text=ref_text, gen_text=gen_text, nfe_step=nfe_step, cfg_strength=cfg_strength, seed=seed)
        return tone(), RATE, None
"""

COSYVOICE = """
import torch
from tone import RATE, record, tone

class AutoModel:
    sample_rate = RATE

    def __init__(self, model_dir):
        import matcha  # its repository keeps it in third_party
        record(model_dir=model_dir)

    def inference_zero_shot(self, tts_text, prompt_text, prompt_wav, stream=False):
        record(tts_text=tts_text, prompt_text=prompt_text, prompt_wav=prompt_wav, stream=stream)
        for _ in range(2):
            yield {"tts_speech": torch.from_numpy(tone())[None]}

    def inference_cross_lingual(self, tts_text, prompt_wav, stream=False):
        record(tts_text=tts_text, prompt_wav=prompt_wav, stream=stream)
        yield {"tts_speech": torch.from_numpy(tone())[None]}
"""

UNIFLOW = """
from tone import record, write

class InferenceCLI:
    def on_inference_start(self, model_name_or_path):
        record(loaded=model_name_or_path)

    def tts(self, transcript, ref_speaker_speech, model_name_or_path, guidance_scale, num_steps, output_path):
        record(tts=transcript, ref=ref_speaker_speech, model=model_name_or_path, guidance=guidance_scale, steps=num_steps)
        write(output_path)

    def t2a(self, caption, model_name_or_path, guidance_scale, num_steps, output_path):
        record(t2a=caption, model=model_name_or_path, guidance=guidance_scale, steps=num_steps)
        write(output_path)

    def t2m(self, caption, model_name_or_path, guidance_scale, num_steps, output_path):
        record(t2m=caption, model=model_name_or_path, guidance=guidance_scale, steps=num_steps)
        write(output_path)
"""

UNIMOE = """
import os
from tone import record, write

class UniMoEAudio:
    def __init__(self, model_path, device_id):
        record(model_path=model_path, device_id=device_id)

    def _save(self, save_name, output_dir):
        path = os.path.join(output_dir, "generated_" + save_name + "_0.wav")
        write(path)
        return [path]

    def text_to_music(self, caption, save_name, output_dir, cfg_scale, temperature):
        record(music=caption, cfg_scale=cfg_scale, temperature=temperature)
        return self._save(save_name, output_dir)

    def text_to_speech(self, caption, prompt_text, prompt_wav, save_name, output_dir, cfg_scale, temperature):
        record(speech=caption, prompt_text=prompt_text, prompt_wav=prompt_wav, cfg_scale=cfg_scale, temperature=temperature)
        return self._save(save_name, output_dir)
"""

MING = """
from tone import RATE, record, tone

class MingAudio:
    sample_rate = RATE

    def __init__(self, model_path, device="cuda:0"):
        record(model_path=model_path, device=device)

    def speech_generation(self, prompt, text, use_spk_emb=False, use_zero_spk_emb=False, instruction=None,
                          prompt_wav_path=None, prompt_text=None, max_decode_steps=200, cfg=2.0, sigma=0.25,
                          temperature=0, output_wav_path="./out.wav"):
        record(prompt=prompt, text=text, use_spk_emb=use_spk_emb, prompt_wav_path=prompt_wav_path,
               prompt_text=prompt_text, steps=max_decode_steps, cfg=cfg, sigma=sigma, temperature=temperature,
               output_wav_path=output_wav_path)
        return tone()[None]
"""

#: does what the caption says: raises, ends the program, blocks it
TANGOFLUX = """
import os, signal, sys
from types import SimpleNamespace
import numpy as np
from tone import record, tone

class TangoFluxInference:
    vae = SimpleNamespace(config=SimpleNamespace(sampling_rate=44100))

    def __init__(self, name):
        record(name=name, pid=os.getpid())
        if name == "broken":
            sys.exit("no such weights")
        if name == "slow":
            signal.pause()

    def generate(self, prompt, steps, duration, guidance_scale):
        record(prompt=prompt, steps=steps, duration=duration, guidance_scale=guidance_scale)
        if prompt == "raise":
            raise RuntimeError("out of memory")
        if prompt == "exit":
            sys.stderr.write("segmentation fault")
            sys.stderr.flush()
            os._exit(3)
        if prompt == "block":
            signal.pause()
        return np.stack([tone(), np.random.uniform(-0.1, 0.1, 480)])
"""

F5_CLI = """
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import argparse
from tone import record, write
record(argv=sys.argv[1:])
parser = argparse.ArgumentParser()
for flag in ("--model", "--ckpt_file", "--vocab_file", "--ref_audio", "--ref_text", "--gen_text", "--output_dir",
             "--output_file", "--device"):
    parser.add_argument(flag)
parser.add_argument("--nfe_step", type=int)
parser.add_argument("--cfg_strength", type=float)
given = parser.parse_args()
if given.gen_text == "fail":
    sys.exit("the vocoder is missing")
write(os.path.join(given.output_dir, given.output_file))
"""

UNIAUDIO = """
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import json
from tone import record, write
record(argv=sys.argv[1:], cwd=os.getcwd())
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(flags["--data_json"]) as file:
    for name in json.load(file):
        write(os.path.join(flags["--output_dir"], name + "_sampling_sample0.wav"))
"""


def package(root: Path, modules: dict[str, str] | None = None) -> Path:
    """Write modules into a checkout, ``{"a/b.py": source}``; the recorder lies beside them."""
    for name, source in {"tone.py": TONE, **(modules or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    return root


def command(path: Path, source: str) -> Path:
    """Write a command that can be run."""
    package(path.parent)
    path.write_text(f"#!{sys.executable}\nimport os, sys\n{source}")
    path.chmod(0o755)
    return path
