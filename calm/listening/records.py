"""The listening test as it lies in its folder: ``test.json``, prepared clips in ``audio/``, ratings in ``ratings.db``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import DataError, InputError
from calm.types import Task

__all__ = ["VOLUME", "ListeningTest", "Settings", "Stimulus"]

FORMAT = "calm-listening-1"
#: name of the clip by which listeners set their volume
VOLUME = "volume"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a test is run.

    Args:
        items_per_listener: clips that a listener rates, attention checks apart; fewer where the test has fewer.
        num_checks: attention checks of a session; odd ones are spoilt clips, even ones are clips heard before.
        seed: of the order of clips and of the choices among equals.
        loudness_lufs: integrated loudness of every clip (ITU-R BS.1770-4).
        max_seconds: clips are cut there.
        spoilt_at_most: highest score that a spoilt clip may be given.
        repeat_within: largest mean difference between the scores of a clip and of its repetition.
    Raises InputError where a value is out of its range.
    """

    items_per_listener: int = 20
    num_checks: int = 2
    seed: int = 0
    loudness_lufs: float = -23.0
    max_seconds: float = 30.0
    spoilt_at_most: int = 2
    repeat_within: float = 1.0

    def __post_init__(self) -> None:
        ranges = {
            "items_per_listener": (1, 1000),
            "num_checks": (0, 20),
            "seed": (0, 2**32 - 1),
            "loudness_lufs": (-40, -10),
            "max_seconds": (0.1, 600),
            "spoilt_at_most": (1, 5),
            "repeat_within": (0, 4),
        }
        for key, (low, high) in ranges.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise InputError(
                    f"{key} is {value}", where="settings of the listening test", allowed=f"{low} to {high}"
                )


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """A prepared clip. Nothing of this but ``text`` ever reaches a listener.

    ``name`` is random; ``system`` is None for a spoilt clip; ``source`` is the file it was made of, ``seconds`` and
    ``sample_rate`` (Hz) are that file's; ``lufs`` is the level as prepared, None for silence.
    """

    name: str
    task: Task
    item: str
    text: str
    system: str | None
    source: str
    seconds: float
    sample_rate: int
    lufs: float | None


@dataclass(frozen=True, kw_only=True)
class ListeningTest:
    """A prepared test.

    Args:
        folder: that holds it.
        fingerprint: of manifest, settings and sources. A folder with ratings takes no other.
        stimuli: rated clips and spoilt ones.
        benchmark, systems: sections of the result file, known before anyone listens.
    """

    folder: Path
    settings: Settings
    fingerprint: str
    stimuli: tuple[Stimulus, ...]
    benchmark: dict[str, Any]
    systems: dict[str, Any]

    @property
    def database(self) -> Path:
        return self.folder / "ratings.db"

    @property
    def rated(self) -> list[Stimulus]:
        return [stimulus for stimulus in self.stimuli if stimulus.system is not None]

    @property
    def spoilt(self) -> list[Stimulus]:
        return [stimulus for stimulus in self.stimuli if stimulus.system is None]

    def stimulus(self, name: str) -> Stimulus:
        """Return a clip by its name; raises KeyError."""
        return {stimulus.name: stimulus for stimulus in self.stimuli}[name]

    def audio(self, name: str) -> Path:
        """The file of a clip, or of ``VOLUME``."""
        return self.folder / "audio" / f"{name}.wav"

    def write(self) -> Path:
        """Write ``test.json``, which makes the folder a test."""
        found = {"format": FORMAT, **dataclasses.asdict(self)}
        found.pop("folder")
        return write_bytes(self.folder / "test.json", (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, folder: str | Path) -> ListeningTest:
        """Read a prepared test. Raises DataError where the folder holds none."""
        folder = Path(folder)
        path = folder / "test.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r}")
            return cls(
                folder=folder,
                settings=Settings(**found["settings"]),
                fingerprint=found["fingerprint"],
                stimuli=tuple(Stimulus(**{**entry, "task": Task(entry["task"])}) for entry in found["stimuli"]),
                benchmark=found["benchmark"],
                systems=found["systems"],
            )
        except FileNotFoundError:
            hint = "prepare one: calm listen MANIFEST --system NAME=DIR -o FOLDER"
            raise DataError("There is no listening test in this folder", where=folder, hint=hint) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"The listening test cannot be read ({error})", where=path, hint="prepare it again"
            ) from None
