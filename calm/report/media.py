"""Audio and pictures of the site, under names made of their content: nothing that a manifest says becomes a path."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from calm import audio
from calm.pages.picture import spectrogram_files
from calm.pages.sound import MAX_WAV_SECONDS, Sound, to_mp3
from calm.types import Waveform

__all__ = ["Media"]

#: containers and codings of libsndfile that every browser plays
PLAYABLE = {
    "WAV/PCM_16": "wav",
    "WAV/PCM_24": "wav",
    "WAV/PCM_U8": "wav",
    "WAV/FLOAT": "wav",
    "WAVEX/PCM_16": "wav",
    "WAVEX/PCM_24": "wav",
    "FLAC/PCM_16": "flac",
    "FLAC/PCM_24": "flac",
    "MP3/MPEG_LAYER_III": "mp3",
}
#: of a FLAC or MP3 that browsers are sure to play
MAX_PLAYABLE_RATE, MAX_PLAYABLE_CHANNELS = 96_000, 2


class Media:
    """Copies clips into ``audio/`` and draws spectrograms into ``images/`` of a site that is being made."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.num_clips = self.num_converted = 0

    def sound(self, path: Path) -> Sound:
        """Copy a clip as it is where browsers play it; the others, and WAV longer than 30 s, become MP3.

        Raises DataError where the file is not there or is no audio.
        """
        header = audio.info(path)
        waveform = audio.read(path)
        extension = PLAYABLE.get(header.format)
        if extension is None or not _plays(waveform) or (extension == "wav" and waveform.seconds > MAX_WAV_SECONDS):
            data, extension = to_mp3(waveform, provenance=audio.read_provenance(path)), "mp3"
            self.num_converted += 1
        else:
            data = path.read_bytes()
        self.num_clips += 1
        return Sound(waveform=waveform, uri=self._keep("audio", data, extension))

    def pictures(self, waveforms: Sequence[Waveform]) -> list[str]:
        """Return the address of each clip's spectrogram; all share one scale of loudness."""
        return [self._keep("images", data, "png") for data in spectrogram_files(waveforms)]

    def _keep(self, folder: str, data: bytes, extension: str) -> str:
        name = f"{folder}/{hashlib.sha256(data).hexdigest()[:20]}.{extension}"
        path = self.site / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return name


def _plays(waveform: Waveform) -> bool:
    return waveform.audio.shape[0] <= MAX_PLAYABLE_CHANNELS and waveform.sample_rate <= MAX_PLAYABLE_RATE
