"""Cards to listen to: one prompt, and what each system made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calm.errors import CalmError
from calm.evaluation.manifest import ManifestItem
from calm.pages.html import Content, Element, h
from calm.pages.player import player
from calm.pages.sound import Sound
from calm.report.choose import choose, strongest
from calm.report.media import Media
from calm.report.panel import labels
from calm.report.parse import without_places
from calm.report.records import Board, System
from calm.report.words import counted
from calm.types import Task

__all__ = ["listening"]

TEXTS = {Task.SPEECH: "Text", Task.SOUND: "Caption", Task.MUSIC: "Caption"}


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One player of a card: what it is, whose clip, and why there is none where there is none."""

    role: str
    name: str
    path: Path | None
    system: System | None = None
    reason: str = "there is no clip"
    style: str = ""


def listening(board: Board, media: Media, *, ours: str | None, count: int) -> list[Element]:
    """Return the cards of a board, at most ``count``."""
    return [_card(board, entry, media, ours=ours) for entry in choose(board, count=count)]


def _card(board: Board, entry: ManifestItem, media: Media, *, ours: str | None) -> Element:
    shown, folded = _line_up(board, entry, ours=ours)
    figures = _figures(board, entry, [*shown, *folded], media)
    item = entry.item
    head = h(
        "header", h("span", str(item.task), class_="pill"), [h("span", label, class_="label") for label in item.labels]
    )
    fold = None
    if folded:
        summary = h("summary", f"The full line-up: {counted(len(folded), 'more system')}")
        fold = h("details", summary, h("div", figures[len(shown) :], class_="line-up"), class_="fold")
    return h(
        "article",
        head,
        h("blockquote", item.text, aria_label=TEXTS[item.task]),
        h("p", item.prompt, class_="prompt") if item.prompt and item.prompt != item.text else None,
        h("div", figures[: len(shown)], class_="line-up"),
        fold,
        class_=f"card task-{item.task}",
    )


def _line_up(board: Board, entry: ManifestItem, *, ours: str | None) -> tuple[list[Voice], list[Voice]]:
    item = entry.item
    measured = [system for system in board.systems if not system.published]
    originals = [system for system in measured if system.original]
    own = [system for system in measured if system.name == ours and system.ranked]
    others = [system for system in measured if system not in originals and system not in own]
    audible = [system for system in others if _is_heard(board, system, item.task)]
    best = strongest(board, item.task, [system for system in audible if system.ranked])
    shown = []
    if entry.reference is not None:
        shown.append(Voice(role="Given", name="Voice to follow", path=entry.reference, style="given"))
    truth = next((system for system in originals if _path(system, item.id)), None)
    if truth is not None or entry.target is not None:
        path = entry.target if truth is None else _path(truth, item.id)
        shown.append(Voice(role="Ground truth", name="Original recording", path=path, system=truth, style="given"))
    shown += [_voice(system, item.id, role="Ours", style="own") for system in own]
    shown += [_voice(system, item.id, role=f"Strongest {system.scope or 'other'}") for system in best]
    rest = [system for system in audible if system not in best]
    return shown, [_voice(system, item.id, role=system.scope) for system in rest]


def _is_heard(board: Board, system: System, task: Task) -> bool:
    entries = [board.manifest.get(name) for name, clip in system.clips.items() if clip.audio is not None]
    return any(entry is not None and entry.item.task == task for entry in entries)


def _path(system: System, item: str) -> Path | None:
    clip = system.clips.get(item)
    return None if clip is None else clip.audio


def _voice(system: System, item: str, *, role: str, style: str = "") -> Voice:
    reason = system.skipped.unusable.get(item, "this system has no clip of it")
    return Voice(role=role, name=system.name, path=_path(system, item), system=system, reason=str(reason), style=style)


def _figures(board: Board, entry: ManifestItem, voices: Sequence[Voice], media: Media) -> list[Element]:
    """A figure for each voice, in order; the pictures of a card share one scale of loudness."""
    sounds: list[Sound | str] = [_sound(voice, media) for voice in voices]
    heard = [sound.waveform for sound in sounds if isinstance(sound, Sound)]
    pictures = iter(media.pictures(heard) if heard else [])
    figures = []
    for voice, sound in zip(voices, sounds, strict=True):
        caption = [
            h("span", voice.role, class_="role") if voice.role else None,
            h("bdi", voice.name) if voice.name else None,
        ]
        if isinstance(sound, str):
            shown = h("figure", h("figcaption", caption), h("p", f"No clip: {sound}.", class_="absent"))
        else:
            label = f"{voice.role} {voice.name}: {entry.item.text}".strip()
            shown = player(sound, next(pictures), label=label, caption=caption, preload="none")
        scores = _scores(board, entry, voice, sound)
        figures.append(h("div", shown, scores, class_=f"voice {voice.style}".strip()))
    return figures


def _sound(voice: Voice, media: Media) -> Sound | str:
    """The clip, or why there is none."""
    if voice.path is None:
        return voice.reason.rstrip(".")
    try:
        return media.sound(voice.path)
    except (CalmError, OSError) as error:
        return without_places(getattr(error, "what", None) or "the file cannot be read").rstrip(".")


def _scores(board: Board, entry: ManifestItem, voice: Voice, sound: Sound | str) -> Content:
    rows = []
    if voice.system is not None and entry.item.id in voice.system.clips:
        scores = voice.system.clips[entry.item.id].scores
        measures = [measure for measure in board.columns.values() if measure.id in scores]
        names = labels(tuple(board.columns.values())) | labels(board.measures(entry.item.task))
        rows = [(names[each.id], f"{each.shown(scores[each.id])} {each.unit}".strip()) for each in measures]
    if isinstance(sound, Sound):
        rows.append(("rate", f"{sound.waveform.sample_rate / 1000:g} kHz"))
    return h("dl", [h("div", h("dt", name), h("dd", value)) for name, value in rows], class_="facts") if rows else None
