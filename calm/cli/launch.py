"""`calm launch`."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from calm.cli.errors import INTERRUPTED, MACHINE_ERROR, PREEMPTED, console

__all__ = ["launch"]


def launch(
    words: Annotated[list[str] | None, typer.Argument(help="key=value words, as `calm train` takes them.")] = None,
    nnodes: Annotated[int | None, typer.Option(min=1, help="Nodes; by default trainer.num_nodes.")] = None,
    node_rank: Annotated[int, typer.Option(min=0, help="Which node this is.")] = 0,
    master_addr: Annotated[str | None, typer.Option(help="Name or address of node 0.")] = None,
    master_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port; by default 29500.")] = None,
    nproc: Annotated[int | None, typer.Option(min=1, help="Workers per node; by default trainer.devices.")] = None,
    max_restarts: Annotated[int, typer.Option(min=0, help="Restarts in a row without a new checkpoint.")] = 10,
    heartbeat_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without progress after which a worker is killed.")
    ] = 600.0,
) -> None:
    """Train, and start again after every fault, until the run is done. One such command runs on each node.

    Exit codes: 0 done, 75 preempted (run it again to go on), 130 Ctrl-C, 1 failed too often in a row, 2 wrong input.

    Example: calm launch --nproc 8 experiment=audiocalm_1p7b
    """
    from calm.launch import launch as run
    from calm.launch.plan import plan_launch

    plan = plan_launch(
        words or [],
        nnodes=nnodes,
        node_rank=node_rank,
        master_addr=master_addr,
        master_port=master_port,
        nproc=nproc,
        max_restarts=max_restarts,
        heartbeat_timeout=heartbeat_timeout,
    )
    outcome = run(plan, say=lambda line: console(stderr=True).print(f"{plan.name}: {line}"))
    times = f"{outcome.num_restarts} restart" + ("" if outcome.num_restarts == 1 else "s")
    line = f"{plan.name}: {outcome.state} at step {outcome.step} after {times}; {plan.run_dir}"
    console(stderr=outcome.state != "done").print(f"{line}; {outcome.reason}" if outcome.reason else line)
    if outcome.state == "failed":
        raise typer.Exit(MACHINE_ERROR)
    if outcome.state == "preempted":
        raise typer.Exit(INTERRUPTED if outcome.signal_number == signal.SIGINT else PREEMPTED)
