"""An embedding without weights that tells kinds of audio apart in noise: mel bands, and how they move."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from calm.scorers.embedder import Embedder
from calm.scorers.mel import FRAMES, HOP, NUM_MELS, RATE, energies_by_second
from calm.types import Waveform

__all__ = ["MelMotion", "envelope_motion", "spectral_motion"]

#: Bands whose logarithms are taken: neighbouring pairs are averaged, since a small set's distance grows with its width.
BANDS = NUM_MELS // 2
#: Energies that are added: before the logarithm, that of white noise of -79 dBFS, so that what a codec does to quiet
#: bands is heard; before motion is judged, -54 dBFS, so that the hiss of a pause does not count as motion.
FLOOR, STILL = 3e-7, 1e-4
#: Share of the mean over bands that is left: noise raises all quiet bands alike, and would be all that is heard.
LEVEL = 0.5
#: Units of motion against one of log10 energy: of spectra, of modulation, of the envelope's distribution. Their choice,
#: and that of the numbers above, is in docs/DECISIONS.md.
SCALES = (8.5, 28.0, 14.0)
#: frames of 20 ms between spectra that are compared: 40 to 400 ms
LAGS = (2, 5, 10, 20)
#: hertz between which the envelope's modulation is summed; speech has most of its own at 3 to 6 Hz
MODULATION = (1.5, 3.0, 5.4, 9.3, 15.5)
MODULATION_FFT = 128
QUANTILES = (0.2, 0.5)


class MelMotion(Embedder):
    """Log-mel statistics as in `mel`, and eleven numbers of how the loud parts move, for each second; D = 75.

    A clip of S seconds is cut into round(S) equal windows, at least one, of frames of 64 ms every 20 ms, 0 to 8 kHz.

    - 32 means and 32 standard deviations over time of log10(energy + floor), half of the means' own mean taken away.
    - Four distances between spectra 40, 100, 200 and 400 ms apart, see `spectral_motion`.
    - Modulation of the envelope in four bands from 1.5 to 15.5 Hz, its spread, and two quantiles, see `envelope_motion`.

    The first part hears what damages audio. The second is made of energies, not of their logarithms, so that white
    noise 10 dB below a clip moves it little, and another kind of audio far: speech is told from music by its rate of
    syllables and by how spectra change (Houtgast & Steeneken, 1985; Scheirer & Slaney, 1997). It is blind to phase, to
    pitch within a band, to what is more than a second apart, to channels, to all above 8 kHz, and to meaning.
    """

    name = "motion"
    sample_rate = RATE
    width = 2 * BANDS + len(LAGS) + len(MODULATION) - 1 + 1 + len(QUANTILES)

    def embed(self, clip: Waveform) -> np.ndarray:
        return np.stack([_row(window) for window in energies_by_second(clip)])

    def settings(self) -> dict[str, Any]:
        return {
            **FRAMES,
            "bands": BANDS,
            "floor": FLOOR,
            "level": LEVEL,
            "motion_floor": STILL,
            "motion_scales": list(SCALES),
            "lags_frames": list(LAGS),
            "modulation_hz": list(MODULATION),
            "envelope_quantiles": list(QUANTILES),
        }


def _row(energy: np.ndarray) -> np.ndarray:
    """One window [frames, 64] as a row [75]."""
    logs = np.log10(energy.reshape(len(energy), BANDS, -1).mean(axis=2) + FLOOR)
    means = logs.mean(axis=0)
    envelope = envelope_motion(energy + STILL)
    parts = np.split(envelope, [len(MODULATION) - 1])
    moving = [spectral_motion(energy + STILL), *parts]
    scaled = [scale * part for scale, part in zip(SCALES, moving, strict=True)]
    return np.concatenate([means - (1 - LEVEL) * means.mean(), logs.std(axis=0), *scaled])


def spectral_motion(energy: np.ndarray) -> np.ndarray:
    """How far spectra of [frames, bands] are from those 40, 100, 200 and 400 ms later, [4], each 0 to 1.

    The square root of 1 - c, where c is the mean cosine of two frames' magnitudes, weighted by their own loudness: the
    Hellinger distance of spectra as distributions. A lag that the window does not hold takes the value of the one before.
    """
    loudness = np.sqrt(energy.sum(axis=1))
    spectra = np.sqrt(energy) / loudness[:, None]
    found = [0.0]
    for lag in LAGS:
        if len(energy) > lag:
            cosines = (spectra[lag:] * spectra[:-lag]).sum(axis=1)
            mean = np.average(cosines, weights=loudness[lag:] * loudness[:-lag])
            found.append(float(np.sqrt(max(0.0, 1 - mean))))
        else:
            found.append(found[-1])
    return np.array(found[1:])


def envelope_motion(energy: np.ndarray) -> np.ndarray:
    """How the loudness of [frames, bands] moves about its mean, [7]: four bands of modulation, spread, two quantiles.

    The envelope is the root of the energy of all bands over its mean. The modulation of a band is the square root of
    its amplitude, the spread the logarithm of 1 + the standard deviation: silence between sounds must not outweigh all.
    """
    envelope = np.sqrt(energy.sum(axis=1))
    envelope = envelope / envelope.mean()
    power = np.abs(np.fft.rfft((envelope - 1) * np.hanning(len(envelope)), MODULATION_FFT)) ** 2
    amplitude = np.sqrt(power * 64 / MODULATION_FFT) / len(envelope)
    bins = np.round(np.array(MODULATION) * MODULATION_FFT * HOP / RATE).astype(int)
    bands = [np.sqrt(np.sqrt(np.square(amplitude[low:high]).sum())) for low, high in itertools.pairwise(bins)]
    return np.array([*bands, np.log1p(envelope.std()), *np.quantile(envelope, QUANTILES)])
