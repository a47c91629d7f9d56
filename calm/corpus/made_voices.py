"""Voices that eSpeak NG does not come with: variants with drawn formants, pitch and roughness, for training alone.

A model that is to copy a voice it has never heard must have met many; eSpeak's own variants are a few dozen. A made
voice always has the same pitch and rate, as a person has.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calm.errors import DataError
from calm.text.espeak import find_espeak

__all__ = ["NUM_MADE", "MadeVoice", "data_with_made_voices", "made_voice"]

#: with eSpeak's own variants and the English accents within the 349 voices that it can list
NUM_MADE = 200
#: factors on eSpeak's formants, and pitch in Hz, by gender
FORMANTS = {"female": (1.02, 1.25), "male": (0.86, 1.06)}
PITCH_HERTZ = {"female": (140, 205), "male": (65, 122)}
NUM_FORMANTS = 9
#: eSpeak's folders of the West Germanic languages, and of variants
ENGLISH, VARIANTS = "gmw", "!v"


@dataclass(frozen=True, kw_only=True)
class MadeVoice:
    """One made variant: its file's name and text. ``draw`` is for what else belongs to the speaker."""

    name: str
    gender: str
    text: str
    draw: np.random.Generator


def made_voice(number: int) -> MadeVoice:
    """Return made voice ``number`` of ``NUM_MADE``; the same number is always the same voice."""
    rng = np.random.default_rng([7, number])
    gender = ("female", "male")[number % 2]
    tract, low = rng.uniform(*FORMANTS[gender]), rng.uniform(*PITCH_HERTZ[gender])
    lines = ["language variant", f"name made{number}", f"gender {gender}"]
    lines.append(f"pitch {low:.0f} {low * rng.uniform(1.2, 1.6):.0f}")
    lines += [f"flutter {rng.integers(0, 13)}", f"roughness {rng.integers(0, 5)}"]
    tilt = rng.uniform(-0.08, 0.04)  # of the formants' strength, by formant
    for formant in range(NUM_FORMANTS):
        frequency = 100 * tract * rng.uniform(0.94, 1.06)
        strength = 100 * (1 + tilt * formant) * rng.uniform(0.75, 1.2)
        lines.append(f"formant {formant} {frequency:.0f} {strength:.0f} {rng.uniform(80, 165):.0f}")
    lines += [f"voicing {rng.uniform(70, 140):.0f}", f"consonants {rng.uniform(75, 130):.0f} {rng.uniform(75, 130):.0f}"]
    if rng.random() < 0.25:
        lines.append("breath 0 " + " ".join(str(rng.integers(1, 5)) for _ in range(7)))
    return MadeVoice(name=f"made{number}", gender=gender, text="\n".join(lines) + "\n", draw=rng)


@functools.cache
def data_with_made_voices() -> Path:
    """Return a data folder of eSpeak NG that has the made voices as well: links to its own, and one small file each.

    It is made once and shared by all processes of a user. Raises DataError where eSpeak NG is missing.
    """
    _, data = find_espeak()
    voices = [made_voice(number) for number in range(NUM_MADE)]
    content = hashlib.sha256("".join([str(data), *(voice.text for voice in voices)]).encode()).hexdigest()[:12]
    # eSpeak NG keeps the path in 160 bytes.
    folder = Path(tempfile.gettempdir()) / f"audiocalm-{getpass.getuser()}" / content
    try:
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            _write(folder, data, voices)
    except OSError as error:
        what = f"The made voices cannot be written ({error})"
        raise DataError(what, where=folder, hint="set TMPDIR to a folder that you may write to") from error
    return folder


def _write(folder: Path, data: Path, voices: list[MadeVoice]) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent))
    _link(data, partial, leave_out=("lang", "voices"))
    _link(data / "lang", partial / "lang", only=(ENGLISH,))
    _link(data / "voices" / VARIANTS, partial / "voices" / VARIANTS)
    for voice in voices:
        (partial / "voices" / VARIANTS / voice.name).write_text(voice.text, encoding="utf-8")
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)
        if not folder.is_dir():  # else another process was first
            raise


def _link(source: Path, target: Path, *, leave_out: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name not in leave_out and (not only or entry.name in only):
            (target / entry.name).symlink_to(entry)
