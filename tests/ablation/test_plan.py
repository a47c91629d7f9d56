"""Which runs there are, and that they can be compared."""

from __future__ import annotations

import collections

import pytest

from calm.ablation.plan import VARIANTS, AblationPlan, Run
from calm.data.batching import ByClips
from calm.data.plan import Plan
from calm.errors import ConfigError
from calm.training.curriculum import longest_at, weights_at
from calm.types import TASKS, Task

ROWS = {Task.SPEECH: range(0, 40), Task.SOUND: range(40, 61), Task.MUSIC: range(61, 90)}


def plan(tmp_path, *overrides, **options):
    return AblationPlan(out=tmp_path, overrides=overrides, **options)


def run(name, *, style="description", seed=0):
    return Run(variant=next(v for v in VARIANTS if v.name == name), style=style, seed=seed)


def test_every_variant_stands_with_both_texts_and_every_seed(tmp_path):
    runs = plan(tmp_path, num_seeds=3).runs()
    assert len(runs) == 6 * 2 * 3 == len({r.name for r in runs})
    assert [r.seed for r in runs] == [0] * 12 + [1] * 12 + [2] * 12


def test_the_runs_differ_in_nothing_but_what_is_compared(tmp_path):
    made = plan(tmp_path, "backbone.dim=96", "backbone.num_heads=4", "backbone.num_kv_heads=4", steps=7)
    configs = {name: made.config(run(name)).to_dict() for name in ("mixed", "symmetric", "amome", "sound")}
    raw = made.config(run("mixed", style="raw")).to_dict()
    differing = {
        name: {key for key in config if config[key] != configs["mixed"][key]} - {"name", "run_dir"}
        for name, config in {**configs, "raw": raw}.items()
    }
    assert differing == {
        "mixed": set(),
        "symmetric": {"expert"},
        "amome": {"expert"},
        "sound": {"curriculum", "data"},
        "raw": {"data"},
    }
    assert configs["symmetric"]["expert"]["width_ratio"] == configs["amome"]["expert"]["width_ratio"]
    assert all(c["trainer"]["max_steps"] == 7 and c["backbone"]["dim"] == 96 for c in configs.values())


@pytest.mark.parametrize("curriculum", ["from_start", "demo", "short_first"])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_of_one_task_draws_the_same_clips_of_it_as_the_mixed_run(tmp_path, task, curriculum):
    """The equal budget of the report: the same draws, hence the same excerpts, references and descriptions."""
    short_first = "[{name: a, until_step: 80, max_clip_seconds: {speech: 0.5, music: 0.6}}, {name: b}]"
    words = (f"curriculum.phases={short_first}",) if curriculum == "short_first" else (f"curriculum={curriculum}",)

    def draws(name, steps=320):
        config = plan(tmp_path, *words).config(run(name))
        made = Plan(
            ROWS, seconds=[i % 10 / 10 for i in range(90)], batching=ByClips(config.data.batch_size), seed=config.seed,
            weights_at=lambda step: weights_at(config.curriculum, step), bucket_steps=8,
            longest_at=lambda step: longest_at(config.curriculum, step),
        )  # fmt: skip
        return collections.Counter(draw for step in range(steps) for draw in made.batch(step))

    single, mixed = draws(str(task)), draws("mixed")
    assert single == collections.Counter({draw: n for draw, n in mixed.items() if draw.task == task})
    assert sum(single.values()) == 4 * 320


def test_the_width_of_the_experts_is_set_for_both_and_for_no_other(tmp_path):
    made = plan(tmp_path, "expert.width_ratio=0.25")
    assert made.config(run("mixed")).expert is None
    assert {made.config(run(name)).expert.width_ratio for name in ("symmetric", "amome")} == {0.25}


@pytest.mark.parametrize("word", ["seed=3", "expert=speech_ffn", "name=x", "data.text_style=raw", "trainer.max_steps=3"])
def test_what_differs_between_the_runs_cannot_be_set_for_all(tmp_path, word):
    with pytest.raises(ConfigError, match="differs between the runs"):
        plan(tmp_path, word)


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("data.batch_size=8", "no equal shares"),
        ("data.source.bucket_steps=7", "end within a window"),
        ("trainer.max_minutes=3", "time limit"),
        ("vae_ckpt_path=null", "latents of its own"),
        ("data.validation=null", "no held-out clips"),
        ("data.source={name: webdataset}", "promises no order"),
        ("curriculum.phases=[{name: a, task_weights: {speech: 2, sound: 1, music: 1}}]", "unequal shares"),
    ],
)
def test_what_allows_no_fair_comparison_is_refused(tmp_path, word, what):
    plan(tmp_path).base()
    with pytest.raises(ConfigError, match=what):
        plan(tmp_path, word).base()


@pytest.mark.parametrize("option", ["num_seeds", "steps", "clips"])
def test_numbers_below_one_are_refused(tmp_path, option):
    with pytest.raises(ConfigError, match="1 or more"):
        plan(tmp_path, **{option: 0})
