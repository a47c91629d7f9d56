"""The curriculum's timeline: what `calm train --show` prints behind the configuration."""

from __future__ import annotations

import yaml

from calm.config import load_config, show, timeline

BASE = ["model=ar_flow", "backbone=transformer"]
TWO = [
    *BASE,
    "trainer.max_steps=100",
    "optim.lr_factors={backbone: 0.5}",
    "curriculum.phases=[{name: words, until_step: 25, task_weights: {speech: 1}, expert: off, "
    "max_clip_seconds: {speech: 1.5}}, {name: joint, task_weights: {speech: 3, music: 1}, lr_factors: {backbone: 0.5}}]",
]


def rows(*words: str) -> list[list[str]]:
    """Cells of the phases, without comment marks and headings."""
    lines = timeline(load_config(words)).splitlines()[2:]
    return [[cell.strip() for cell in line.removeprefix("# ").split("  ") if cell.strip()] for line in lines]


def test_every_phase_has_its_steps_shares_factors_and_limits():
    words, joint = rows(*TWO, "expert=speech_ffn")
    assert words == [
        "words", "0 to 24", "=" * 6 + "." * 18, "speech 100", "off", "backbone 0.5", "speech 1.5 s",
    ]  # fmt: skip
    assert joint == [
        "joint", "25 to 99", "." * 6 + "=" * 18, "speech 75, music 25", "on", "backbone 0.25", "any",
    ]  # fmt: skip


def test_without_an_expert_none_is_switched():
    assert all("none" in row for row in rows(*TWO))


def test_a_phase_beyond_the_last_step_is_not_reached():
    words, joint = rows(*TWO, "trainer.max_steps=20")
    assert "0 to 19" in words and "not reached" in joint
    assert "=" not in joint[2]


def test_a_short_phase_late_in_the_run_still_shows():
    late = "curriculum.phases=[{name: long, until_step: 9999}, {name: last}]"
    assert rows(*BASE, "trainer.max_steps=10000", late)[1][2] == "." * 23 + "="


def test_configuration_and_timeline_together_are_the_same_yaml():
    config = load_config(TWO)
    assert yaml.safe_load(show(config) + timeline(config)) == yaml.safe_load(show(config))
