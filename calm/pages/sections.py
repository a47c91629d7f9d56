"""The sections of a page, from records to elements. Each returns None where it has nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from calm.pages.chart import Line, line_chart
from calm.pages.html import Content, Element, h
from calm.pages.picture import heat_maps
from calm.pages.player import players
from calm.pages.records import Clip, Overfit, OverfitPair, Page, Reconstruction, Stage
from calm.pages.sound import Sound
from calm.types import TASKS

__all__ = ["Files", "clips_section", "overfit_section", "reconstruction_section", "section", "stages_section"]

#: latents are normalised: nearly all lie within this many standard deviations
LATENT_LIMIT = 3.0

HOW_TO_READ = {
    "clips": (
        "Each picture is a mel spectrogram: time runs to the right, pitch upwards, brightness is loudness on a "
        "scale of 70 decibels. Horizontal stripes are tones and vowels, vertical edges are clicks and consonants. "
        "Click into a picture to play from there. RTF is seconds of work per second of audio: below 1 is faster "
        "than playing."
    ),
    "reconstructions": (
        "The model never sees audio, only the VAE's latents, so it cannot sound better than this: a held-out "
        "recording, and the same recording after encoder and decoder. Both pictures of a pair share one scale. "
        "What is blurred on the right was lost in the latents."
    ),
    "overfit": (
        "A small fresh model is trained on one clip of each task and must then sample these clips back from noise "
        "and text. Rows are latent channels, columns are time; red is above the mean, blue below. Left and middle "
        "should look the same, and the difference pale. NMSE is the squared error relative to the target's own "
        "variation: 0 is perfect, 1 is no better than its mean."
    ),
}


class Files:
    """What the sections read, kept apart from how it is found."""

    def __init__(self, sound: Callable[[str], Sound], array: Callable[[str], np.ndarray]) -> None:
        self.sound, self.array = sound, array


def section(anchor: str, title: str, *content: Content) -> Element:
    """Return a section with its explanation, if it has one."""
    text = HOW_TO_READ.get(anchor)
    note = None if text is None else h("p", text, class_="how")
    return h("section", h("h2", title, id=f"{anchor}-title"), note, content, id=anchor, aria_labelledby=f"{anchor}-title")


def clips_section(page: Page, files: Files) -> Element | None:
    """Prompts with players and spectrograms, task after task."""
    if not page.clips:
        return None
    groups = []
    for task in TASKS:
        cards = [_clip_card(clip, files) for clip in page.clips if clip.task == task]
        if cards:
            groups.append(h("div", h("h3", task.capitalize()), h("div", cards, class_="cards"), class_=f"task-{task}"))
    return section("clips", "Listen", groups)


def _clip_card(clip: Clip, files: Files) -> Element:
    label = f"generated {clip.task}: {clip.prompt}"
    facts = {
        "voice": clip.voice,
        "ended by": clip.finish_reason,
        "seed": None if clip.seed is None else str(clip.seed),
        "RTF": None if clip.rtf is None else f"{clip.rtf:.2f}",
        "first audio": None if clip.first_audio_seconds is None else f"{1000 * clip.first_audio_seconds:.0f} ms",
        "training step": None if clip.step is None else f"{clip.step:,}",
        "sampled with": clip.settings,
    }
    rows = [h("div", h("dt", name), h("dd", value)) for name, value in facts.items() if value is not None]
    return h(
        "article",
        h("blockquote", clip.prompt),
        players([files.sound(clip.audio)], labels=[label], captions=[None]),
        h("dl", rows, class_="facts"),
        class_="card",
    )


def reconstruction_section(pairs: Sequence[Reconstruction], files: Files) -> Element | None:
    """Original and reconstruction side by side."""
    if not pairs:
        return None
    cards = []
    for pair in pairs:
        sounds = [files.sound(pair.original), files.sound(pair.reconstruction)]
        labels = [f"original {pair.task}: {pair.text}", f"reconstructed {pair.task}: {pair.text}"]
        figures = players(sounds, labels=labels, captions=["Original", "Reconstruction"])
        head = h("header", h("span", pair.task, class_="pill"), h("p", pair.text))
        cards.append(h("article", head, h("div", figures, class_="pair"), class_=f"card task-{pair.task}"))
    return section("reconstructions", "What the VAE keeps", cards)


def overfit_section(overfit: Overfit | None, files: Files) -> Element | None:
    """Target and sampled latents as heat maps, both as audio, and how the error fell."""
    if overfit is None:
        return None
    lead = h("p", f"{overfit.step:,} steps in {overfit.seconds:.0f} s; the goal is an NMSE of at most {overfit.goal:g}.")
    cards = [_overfit_card(pair, files, goal=overfit.goal) for pair in overfit.pairs]
    return section("overfit", "Can it learn at all?", lead, cards, _overfit_chart(overfit))


def _overfit_card(pair: OverfitPair, files: Files, *, goal: float) -> Element:
    target, sampled = files.array(pair.target_latents), files.array(pair.sampled_latents)
    pictures = heat_maps([target, sampled, sampled - target], limit=LATENT_LIMIT)
    size = f"{target.shape[0]} frames, {target.shape[1]} channels"
    captions = ("Target latents", "Sampled latents", "Difference")
    maps = [
        h("figure", h("figcaption", name), h("img", src=uri, alt=f"{name} of {pair.task}: {size}"), class_="latents")
        for name, uri in zip(captions, pictures, strict=True)
    ]
    verdict = "met" if pair.nmse <= goal else "missed"
    head = h(
        "header",
        h("span", pair.task, class_="pill"),
        h("p", pair.text),
        h("span", f"NMSE {pair.nmse:.3f} · goal {verdict}", class_=f"badge {verdict}"),
    )
    sounds = [files.sound(pair.target_audio), files.sound(pair.sampled_audio)]
    labels = [f"target {pair.task}: {pair.text}", f"sampled {pair.task}: {pair.text}"]
    figures = players(sounds, labels=labels, captions=["Target, decoded", "Sampled, decoded"])
    triple, pair_of_players = h("div", maps, class_="triple"), h("div", figures, class_="pair")
    return h("article", head, triple, pair_of_players, class_=f"card task-{pair.task}")


def _overfit_chart(overfit: Overfit) -> Element | None:
    if not overfit.readings:
        return None
    lines = []
    for index, pair in enumerate(overfit.pairs):
        points = [(float(reading.step), reading.nmse[index]) for reading in overfit.readings]
        lines.append(Line(label=pair.task, points=points, style=f"val {pair.task}"))
    goal = [(0.0, overfit.goal), (float(overfit.step), overfit.goal)]
    chart = line_chart([*lines, Line(label="goal", points=goal, style="goal")], title="NMSE of the samples", x_label="step")
    return h("div", chart, class_="charts")


def stages_section(stages: Sequence[Stage]) -> Element | None:
    """How long each stage took, as bars."""
    if not stages:
        return None
    longest, total = max(stage.seconds for stage in stages), sum(stage.seconds for stage in stages)
    rows = [
        h(
            "tr",
            h("th", stage.name, scope="row"),
            h("td", duration(stage.seconds), class_="number"),
            h("td", h("span", class_="bar", style=f"width:{100 * stage.seconds / max(longest, 1e-9):.1f}%"), class_="bars"),
            h("td", stage.note),
        )
        for stage in stages
    ]
    foot = h("tr", h("th", "total", scope="row"), h("td", duration(total), class_="number"), h("td"), h("td"))
    head = h("tr", [h("th", name, scope="col") for name in ("stage", "time", "", "what was made")])
    table = h("table", h("thead", head), h("tbody", rows), h("tfoot", foot))
    return section("stages", "Where the time went", scrolled(table, label="times of the stages"))


def duration(seconds: float) -> str:
    """12.3 s, or 4 min 05 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def scrolled(table: Element, *, label: str) -> Element:
    """Let a wide table scroll on its own, also by keyboard."""
    return h("div", table, class_="scrolled", role="region", aria_label=label, tabindex="0")
