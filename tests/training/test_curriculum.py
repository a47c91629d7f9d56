import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback

from calm.errors import ConfigError
from calm.training.checkpoint_io import read_checkpoint
from calm.training.config import CurriculumConfig, Phase
from calm.training.curriculum import phase_at, weights_at
from calm.training.fit import train
from calm.types import Task
from tests.training.toy import TWO_PHASES, ToyData, toy_config, toy_root


class _Raw(Callback):
    """Takes the raw weights before the averaged ones replace them at the end."""

    def on_train_end(self, trainer, pl_module):
        self.expert = pl_module.expert.weight.detach().clone()


ends = st.lists(st.integers(1, 500), min_size=0, max_size=6, unique=True).map(sorted)


@given(ends=ends, step=st.integers(0, 600))
def test_phases_are_a_partition_of_the_steps(ends, step):
    phases = [Phase(name=f"until {end}", until_step=end) for end in ends] + [Phase(name="last")]
    starts = [0, *ends]
    owners = [
        phase.name
        for phase, start in zip(phases, starts, strict=True)
        if start <= step and (phase.until_step is None or step < phase.until_step)
    ]
    assert owners == [phase_at(CurriculumConfig(phases=phases), step).name]


@given(weights=st.dictionaries(st.sampled_from(list(Task)), st.floats(0.01, 10), min_size=1), step=st.integers(0, 10**6))
def test_task_shares_sum_to_one_and_keep_their_proportions(weights, step):
    config = CurriculumConfig(phases=[Phase(task_weights={str(task): weight for task, weight in weights.items()})])
    shares = weights_at(config, step)
    assert set(shares) == set(Task)
    assert sum(shares.values()) == pytest.approx(1)
    first = next(iter(weights))
    for task in Task:
        assert shares[task] * weights[first] == pytest.approx(shares[first] * weights.get(task, 0))


def test_the_expert_rests_until_its_phase_and_learns_in_it(tmp_path):
    before = toy_root().expert.weight.detach().clone()
    root = toy_root()
    train(root, ToyData(), config=toy_config(tmp_path / "off", max_steps=4), progress=False)
    assert root.rows_seen == [0, 0, 0, 0]
    assert (root.expert.weight == before).all(), "weight decay or momentum moved an expert that is off"

    root = toy_root()
    train(root, ToyData(), config=toy_config(tmp_path / "on", max_steps=6), progress=False)
    assert root.rows_seen == [0, 0, 0, 0, 1, 1]
    assert (root.expert.weight != before).any()


def test_an_expert_switched_off_again_is_not_moved_by_old_momentum(tmp_path):
    phases = [Phase(name="on", until_step=3, expert="on"), Phase(name="off", expert="off")]
    curriculum = CurriculumConfig(phases=phases)
    weights = []
    for steps in (3, 8):
        root = toy_root()
        config = toy_config(tmp_path / str(steps), max_steps=steps, curriculum=curriculum)
        data = ToyData()
        seen = _Raw()
        train(root, data, config=config, progress=False, callbacks=[seen])
        weights.append(seen.expert)
    assert (weights[0] == weights[1]).all()


def test_an_expert_that_is_off_gathers_no_moments(tmp_path):
    # Moments of zero gradients, aged by many steps, would spoil the expert's first steps.
    train(toy_root(), ToyData(), config=toy_config(tmp_path, max_steps=4), progress=False)
    optimizer = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["optimizer_states"][0]
    indices = {group["part"]: set() for group in optimizer["param_groups"]}
    for group in optimizer["param_groups"]:
        indices[group["part"]] |= set(group["params"])
    assert indices["expert"] and not indices["expert"] & set(optimizer["state"])
    assert indices["head"] <= set(optimizer["state"])


def test_a_part_with_the_factor_zero_stays_where_it_is(tmp_path):
    phases = [Phase(name="align", lr_factors={"backbone": 0.0})]
    root = toy_root()
    before = root.backbone.weight.detach().clone()
    config = toy_config(tmp_path, max_steps=3, curriculum=CurriculumConfig(phases=phases))
    train(root, ToyData(), config=config, progress=False)
    assert (root.backbone.weight == before).all()


def test_an_unknown_part_is_refused_before_the_first_step(tmp_path):
    phases = [Phase(lr_factors={"bakcbone": 0.5})]
    data = ToyData()
    with pytest.raises(ConfigError, match="Did you mean 'backbone'"):
        train(
            toy_root(), data, config=toy_config(tmp_path, curriculum=CurriculumConfig(phases=phases)), progress=False
        )
    assert data.next_step == 0


def test_the_two_phases_of_the_toy_are_what_the_other_tests_believe():
    assert [phase_at(TWO_PHASES, step).expert for step in (0, 3, 4, 10**9)] == ["off", "off", "on", "on"]
