"""From the words of a command line to a node's plan."""

import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.errors import ConfigError, InputError
from calm.launch import Outcome
from calm.launch.plan import plan_launch

TINY = ("experiment=tiny", "vae_ckpt_path=somewhere")


def test_the_workers_train_with_the_nodes_of_the_launch_and_always_go_on():
    plan = plan_launch([*TINY, "ckpt_path=last"], nnodes=2, node_rank=1, nproc=4, master_addr="node0")
    assert plan.words[-3:] == ("trainer.num_nodes=2", "trainer.devices=4", "ckpt_path=last")
    assert list(plan.ranks) == [4, 5, 6, 7]
    assert (plan.main_address, plan.main_port) == ("node0", 29500)
    assert (plan.name, str(plan.run_dir), plan.max_steps) == ("tiny", "runs/tiny", 20)


def test_nodes_and_devices_are_the_configurations_where_none_are_given():
    plan = plan_launch([*TINY, "trainer.devices=3", "trainer.num_nodes=2"], master_addr="node0")
    assert (plan.num_nodes, plan.num_processes) == (2, 3)
    assert plan_launch([*TINY, "trainer.devices=auto"]).num_processes == 1  # the experiment computes on the CPU


def test_the_command_is_static_torchrun_without_restarts_of_its_own():
    command = plan_launch(TINY, nproc=2).command()
    for pair in (["--rdzv-backend", "static"], ["--max-restarts", "0"], ["--nproc-per-node", "2"], ["--node-rank", "0"]):
        at = command.index(pair[0])
        assert command[at : at + 2] == pair
    at = command.index("--module")
    assert command[at + 1 : at + 3] == ["calm", "train"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"words": [*TINY, "ckpt_path=other.ckpt"]}, "pretrained_ckpt_path"),
        ({"nnodes": 2}, "--master-addr"),
        ({"nnodes": 2, "node_rank": 2, "master_addr": "node0"}, "0 to 1"),
        ({"heartbeat_timeout": 5}, "--heartbeat-timeout"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    options = {"words": list(TINY), **options}
    with pytest.raises(InputError) as caught:
        plan_launch(options.pop("words"), **options)
    assert said in str(caught.value)


def test_words_that_train_would_refuse_are_refused_before_anything_starts():
    with pytest.raises(ConfigError, match="Did you mean"):
        plan_launch([*TINY, "trainer.max_step=3"])


@pytest.mark.parametrize(
    ("state", "number", "code"), [("done", 0, 0), ("preempted", 15, 75), ("preempted", 2, 130), ("failed", 0, 1)]
)
def test_a_launch_ends_with_one_line_and_the_code_of_its_state(monkeypatch, state, number, code):
    outcome = Outcome(state=state, step=7, num_restarts=1, signal_number=number)
    monkeypatch.setattr("calm.launch.launch", lambda plan, *, say: outcome)
    result = CliRunner().invoke(app, ["launch", *TINY])
    assert result.exit_code == code
    assert result.output == f"tiny: {state} at step 7 after 1 restart; runs/tiny\n"
