"""A clip one can see and hear: its spectrogram over an audio player."""

from __future__ import annotations

from collections.abc import Sequence

from calm.pages.html import Content, Element, h
from calm.pages.picture import spectrograms
from calm.pages.sound import Sound

__all__ = ["player", "players"]

NUM_TICKS = 4


def players(sounds: Sequence[Sound], *, labels: Sequence[str], captions: Sequence[str | None]) -> list[Element]:
    """Return a player for each sound; their spectrograms share one scale of loudness.

    Args:
        labels: what each clip is, for those who do not see it. captions: shown above the picture, or None.
    """
    pictures = spectrograms([sound.waveform for sound in sounds])
    return [
        player(sound, picture, label=label, caption=caption)
        for sound, picture, label, caption in zip(sounds, pictures, labels, captions, strict=True)
    ]


def player(sound: Sound, picture: str, *, label: str, caption: Content, preload: str = "metadata") -> Element:
    """Return one player; ``picture`` is the address of its spectrogram. With ``preload="none"`` nothing of the clip is
    fetched before it is asked for, nor its picture before it comes into view."""
    lazy = "lazy" if preload == "none" else None
    seconds = sound.waveform.seconds
    top = sound.waveform.sample_rate / 2000
    return h(
        "figure",
        None if caption is None else h("figcaption", caption),
        h(
            "div",
            h("img", src=picture, alt=f"Mel spectrogram of {label}: {seconds:.1f} s, 0 to {top:g} kHz", loading=lazy),
            h("span", class_="cursor", aria_hidden="true"),
            h("span", f"{top:g} kHz", class_="top", aria_hidden="true"),
            class_="spectrogram",
        ),
        h("div", [h("span", text) for text in _ticks(seconds)], class_="ticks", aria_hidden="true"),
        h("audio", controls="", preload=preload, src=sound.uri, aria_label=f"Play {label}"),
        class_="player",
    )


def _ticks(seconds: float) -> list[str]:
    times = [seconds * index / NUM_TICKS for index in range(NUM_TICKS + 1)]
    return [f"{time:.1f}" for time in times[:-1]] + [f"{seconds:.1f} s"]
