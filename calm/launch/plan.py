"""What one node's launcher needs to know, and the command by which it starts its workers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calm.config import RunConfig, load_config
from calm.errors import InputError

__all__ = ["LaunchPlan", "plan_launch"]

#: port of the main node where several nodes are asked for and none is given; torchrun's own default
DEFAULT_PORT = 29500


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """One node's share of a launch.

    Args:
        name, run_dir: of the run; the folder must be the same for all nodes.
        words: for `calm train`, complete with nodes, devices and ``ckpt_path=last``.
        max_steps: the run's last step; a run that is done with it is left alone.
        num_nodes, node_rank, num_processes: nodes, which of them this is, and workers on each.
        main_address, main_port: where node 0 is; 0 lets torchrun choose a port on a single node.
        max_restarts: restarts in a row that may pass without a new checkpoint.
        heartbeat_timeout: seconds without progress after which a worker is taken for dead.
    """

    name: str
    run_dir: Path
    words: tuple[str, ...]
    max_steps: int
    num_nodes: int = 1
    node_rank: int = 0
    num_processes: int = 1
    main_address: str = "127.0.0.1"
    main_port: int = 0
    max_restarts: int = 10
    heartbeat_timeout: float = 600.0

    @property
    def ranks(self) -> range:
        """The global ranks of this node."""
        return range(self.node_rank * self.num_processes, (self.node_rank + 1) * self.num_processes)

    @property
    def start_timeout(self) -> float:
        """Seconds until the first sign of life: imports, and nodes that notice a fault one time-out after another."""
        return max(300.0, 2 * self.heartbeat_timeout)

    def command(self) -> list[str]:
        """Return static torchrun over `calm train`. It restarts nothing itself: a launcher does, with a fresh store."""
        return [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes", str(self.num_nodes), "--node-rank", str(self.node_rank)),
            *("--nproc-per-node", str(self.num_processes)),
            *("--master-addr", self.main_address, "--master-port", str(self.main_port)),
            *("--rdzv-backend", "static", "--rdzv-conf", f"timeout={round(self.start_timeout)}"),
            *("--max-restarts", "0", "--monitor-interval", "0.5"),
            *("--module", "calm", "train", *self.words),
        ]


def plan_launch(
    words: Sequence[str],
    *,
    nnodes: int | None = None,
    node_rank: int = 0,
    master_addr: str | None = None,
    master_port: int | None = None,
    nproc: int | None = None,
    max_restarts: int = 10,
    heartbeat_timeout: float = 600.0,
) -> LaunchPlan:
    """Complete the command line by the run's configuration.

    Raises ConfigError for words that `calm train` would not accept, InputError for options that do not fit.
    """
    config = load_config(list(words))
    if config.ckpt_path not in (None, "last"):
        raise InputError(
            "A launch always goes on from the run's own last checkpoint",
            where=f"ckpt_path={config.ckpt_path}",
            hint="leave ckpt_path out; to start from other weights, give pretrained_ckpt_path",
        )
    num_nodes = nnodes if nnodes is not None else config.trainer.num_nodes
    num_processes = nproc if nproc is not None else _devices(config)
    if not 0 <= node_rank < num_nodes:
        raise InputError(
            f"Node rank {node_rank} of {num_nodes} nodes", where="--node-rank", allowed=f"0 to {num_nodes - 1}"
        )
    if num_nodes > 1 and master_addr is None:
        raise InputError(
            "Several nodes need to know the main one", where="--master-addr", hint="give node 0's name or address"
        )
    if heartbeat_timeout <= config.trainer.heartbeat_seconds:
        raise InputError(
            f"A heartbeat is written every {config.trainer.heartbeat_seconds:g} s at most",
            where=f"--heartbeat-timeout {heartbeat_timeout:g}",
            allowed="more than trainer.heartbeat_seconds, and more than one step, checkpoint or export takes",
        )
    sizes = (f"trainer.num_nodes={num_nodes}", f"trainer.devices={num_processes}", "ckpt_path=last")
    return LaunchPlan(
        name=config.name,
        run_dir=config.run_dir,
        words=(*words, *sizes),
        max_steps=config.trainer.max_steps,
        num_nodes=num_nodes,
        node_rank=node_rank,
        num_processes=num_processes,
        main_address=master_addr or "127.0.0.1",
        main_port=master_port if master_port is not None else (DEFAULT_PORT if num_nodes > 1 else 0),
        max_restarts=max_restarts,
        heartbeat_timeout=heartbeat_timeout,
    )


def _devices(config: RunConfig) -> int:
    """Return the run's devices per node; ``auto`` is every GPU that is there, and one process without."""
    if config.trainer.devices.isdigit():
        return int(config.trainer.devices)
    if config.trainer.devices != "auto" or config.trainer.accelerator == "cpu":
        return 1
    import torch

    return max(1, torch.cuda.device_count())
