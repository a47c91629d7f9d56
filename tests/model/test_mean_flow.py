"""Averages of a guided flow: what they are, what is trained, and that a step of them lands where the flow goes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.config import load_config
from calm.errors import CheckpointError, ConfigError
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.flow import Targets
from calm.model.grid import time_grid
from calm.model.mean_flow import MeanFlow, average_velocities, trajectory, unconditional, whole_steps
from calm.registry import build
from calm.training.frozen import SameTeacher
from tests.factory import tiny_batch, tiny_generator

TINY = ["model=head_flow", "vae=tiny", "backbone=tiny", "expert=speech_ffn"]
PLAIN, AVERAGES = ["head=mlp_tiny"], ["head=mlp_tiny", "head.output=average_velocity"]
BOTH = [*AVERAGES, "head.branches=both"]


def learner(*, seed: int = 0, branches: str = "conditional", **choices):
    """A tiny model whose every layer matters, with a head that knows averages, ready to be distilled."""
    root = tiny_generator("head_flow", seed=seed)
    with torch.random.fork_rng():
        choice = {"name": "mlp", "output": "average_velocity", "branches": branches, "width": 32, "num_blocks": 2}
        head = build("head", choice, dim=16, latent_dim=4)
        for name, parameter in head.named_parameters():
            if not name.startswith(("span.", "bare.")):
                parameter.data = 0.2 * torch.randn_like(parameter)
    root.head = head
    root.objective = MeanFlow(MeanFlow.Config(**choices))
    root.objective.begin(root, trained=True)
    return root


def errors(root, batch, *, seed: int = 0):
    terms = root.flow_terms(batch, torch.Generator().manual_seed(seed))
    return (terms.error * terms.valid[:, None]).sum() / (terms.valid[:, None].expand_as(terms.error).sum())


@pytest.mark.parametrize("num_steps", [(1,), (1, 2, 4), (8, 2)])
def test_steps_by_averages_end_where_the_trajectory_ends(num_steps):
    times = time_grid(8, grid="sway")
    states = trajectory(lambda x, t: torch.sin(3 * x) - t, torch.randn(2, 1, 3, 4, dtype=torch.float64), times)
    starts, averages, time, span = average_velocities(states, times, num_steps=num_steps)
    ends = starts + span[..., None] * averages
    pairs = whole_steps(8, num_steps=num_steps)
    for row, (first, last) in enumerate(pairs):
        torch.testing.assert_close(ends[:, row], states[last][:, 0])
        torch.testing.assert_close(time[:, row], torch.full_like(time[:, row], times[first]))
    for number in num_steps:
        assert {(i, i + 8 // number) for i in range(0, 8, 8 // number)} <= set(pairs)


@pytest.mark.parametrize("words", [AVERAGES, BOTH], ids=["one branch", "both branches"])
def test_a_head_that_has_grown_starts_as_the_head_it_was(tmp_path, words):
    config = load_config([*TINY, *PLAIN])
    plain = build_model(config)
    torch.nn.init.normal_(plain.head.out.weight)
    save_pretrained(tmp_path, model=plain, config=config)
    grown = build_model(load_config([*TINY, *words, f"pretrained_ckpt_path={tmp_path}"]))
    hidden, noisy = torch.randn(2, 1, plain.backbone.dim), torch.randn(2, 1, plain.vae.latent_dim)
    time, span = torch.rand(2, 1), torch.rand(2, 1)
    expected = plain.head(hidden, noisy=noisy, time=time)
    assert expected.abs().max() > 0.1
    assert torch.equal(grown.head(hidden, noisy=noisy, time=time, span=span), expected)
    assert torch.equal(grown.head(hidden, noisy=noisy, time=time), expected)
    if words is BOTH:
        assert torch.equal(grown.head(hidden, noisy=noisy, time=time, bare=torch.randn_like(hidden)), expected)


def test_one_step_of_the_teacher_without_guidance_is_known_at_the_start():
    scales = {f"cfg_scale_{task}": 1.0 for task in ("speech", "sound", "music")}
    root = learner(num_steps=(1,), num_teacher_steps=1, **scales)
    assert errors(root, tiny_batch([0, 1, 2])) < 1e-10
    assert errors(learner(num_steps=(1,), num_teacher_steps=1), tiny_batch([0, 1, 2])) > 1e-4


def test_the_unconditional_pass_may_leave_out_the_rows_that_nobody_sees():
    root, batch = learner().double(), tiny_batch([0, 1, 2], reference_frames=5)
    prompt = root.prompt_of(dataclasses.replace(batch, audio=batch.audio.double(), reference=batch.reference.double()))
    targets = Targets.prepare(
        torch.randn(3, 8, 4, dtype=torch.float64),
        num_frames=torch.tensor([8, 5, 8]),
        complete=batch.complete,
        task=batch.task,
        block_size=4,
        num_copies=1,
        generator=None,
    )
    history, time = targets.history(probability=0.0, level=0.0, generator=None)
    whole, bare = prompt.without_conditions(), unconditional(prompt)
    assert (bare.text.shape[1], bare.reference.shape[1]) == (0, 0) != (whole.text.shape[1], whole.reference.shape[1])
    expected, found = (root.condition(each, targets, history=history, history_time=time)[0] for each in (whole, bare))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_only_the_head_learns_and_the_teacher_stays_and_is_not_saved():
    root = learner()
    before = {name: tensor.clone() for name, tensor in root.objective.teacher.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in root.parameters() if p.requires_grad], 1e-2)
    errors(root, tiny_batch([0, 1])).backward()
    assert {name.split(".")[0] for name, p in root.named_parameters() if p.grad is not None} == {"head"}
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in root.objective.teacher.state_dict().items())
    assert not torch.equal(root.head.out.weight, before["out.weight"])
    assert not [name for name in root.state_dict() if "teacher" in name]


def test_a_head_of_both_branches_learns_from_the_unconditional_state():
    root = learner(branches="both")
    errors(root, tiny_batch([0, 1, 2])).backward()
    assert root.head.bare.weight.grad.abs().max() > 1e-6
    with pytest.raises(ConfigError, match=r"both branches(.|\n)*average_velocity"):
        load_config([*TINY, *PLAIN, "head.branches=both"])


@pytest.mark.parametrize("branches", ["conditional", "both"])
def test_after_training_one_step_lands_nearer_to_the_end_of_the_guided_flow_than_a_step_of_euler(branches):
    root, batch = learner(branches=branches), tiny_batch([0, 1, 2], frames=12)
    first = errors(root, batch, seed=99).detach()
    optimizer = torch.optim.Adam(root.head.parameters(), 3e-3)
    for step in range(60):
        optimizer.zero_grad()
        errors(root, batch, seed=step).backward()
        optimizer.step()
    assert errors(root, batch, seed=99).detach() < 0.5 * first


@pytest.mark.parametrize("words", [["model=ar_flow", "head=rectified_flow"], PLAIN])
def test_a_model_that_cannot_know_averages_is_refused_with_what_can(words):
    with pytest.raises(ConfigError, match=r"mean_flow(.|\n)*head.output=average_velocity"):
        build_model(load_config([*TINY, *words, "objective=mean_flow"]))


def test_random_weights_are_no_teacher():
    with pytest.raises(ConfigError, match=r"no teacher(.|\n)*pretrained_ckpt_path=mini"):
        build_model(load_config([*TINY, *AVERAGES, "objective=mean_flow"]))


def test_numbers_of_steps_must_lie_on_the_grid_of_the_teacher():
    with pytest.raises(ConfigError, match=r"divide num_teacher_steps \(8\)"):
        load_config([*TINY, *AVERAGES, "objective=mean_flow", "objective.num_steps=[1,3]"])


def test_a_history_of_its_own_is_refused_where_the_head_learns_averages():
    words = [*TINY, *AVERAGES, "objective=mean_flow", "model.own_history_probability=0.5"]
    with pytest.raises(ConfigError, match="own_history_probability"):
        build_model(load_config(words))


def test_a_run_that_goes_on_must_have_the_teacher_that_it_began_with():
    taken = learner().objective.taken()
    began, same = SameTeacher(taken), SameTeacher(taken)
    other = SameTeacher({name: tensor + 1 for name, tensor in taken.items()})
    checkpoint = {}
    began.on_save_checkpoint(None, None, checkpoint)
    same.on_load_checkpoint(None, None, checkpoint)
    same.on_load_checkpoint(None, None, {})  # older checkpoints do not say
    with pytest.raises(CheckpointError, match="another teacher"):
        other.on_load_checkpoint(None, None, checkpoint)
