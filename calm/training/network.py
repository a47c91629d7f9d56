"""Before several nodes talk: which interface leads to the main node, and is anybody there. Seconds, not a time-out.

Left alone, gloo and NCCL pick an interface by its name or by what the host's name resolves to. Where that
is loopback or a management network, every rank waits for minutes and then reports that it waited.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
import time
from collections.abc import MutableMapping
from typing import Any

from calm.errors import CalmError

__all__ = ["NetworkError", "check_port", "choose_interface", "interface_of", "own_address", "prepare_network"]

#: variables by which gloo and NCCL are told their interface
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
#: request of ioctl(2): the IPv4 address of an interface (linux/sockios.h)
SIOCGIFADDR = 0x8915


class NetworkError(CalmError):
    """The nodes of a run cannot reach each other as they are configured."""


def prepare_network(
    num_nodes: int, *, environ: MutableMapping[str, str] = os.environ, patience_seconds: float = 60.0
) -> None:
    """Choose the interface and check that the main node answers, in a worker; with one node there is nothing to do.

    Args:
        num_nodes: nodes of the run.
        environ: read for MASTER_ADDR, MASTER_PORT and the node's rank; the interfaces are set in it.
        patience_seconds: how long a reachable main node may take to open its port.
    Raises NetworkError with the address and the interface.
    """
    if num_nodes == 1:
        return
    if "MASTER_ADDR" not in environ and environ is os.environ and (slurm := _slurm()) is not None:
        host, port = slurm.main_address, slurm.main_port  # it derives them from the job, and sets the variables
    elif "MASTER_ADDR" in environ and "MASTER_PORT" in environ:
        host, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    else:
        raise NetworkError(
            f"{num_nodes} nodes are asked for, and nothing says where the main one is",
            where="trainer.num_nodes; MASTER_ADDR and MASTER_PORT in the environment",
            hint="start the run with `calm launch --nnodes ...`, torchrun or srun (docs/CLUSTER.md)",
        )
    choose_interface(host, environ=environ)
    if int(environ.get("GROUP_RANK", environ.get("SLURM_NODEID", environ.get("NODE_RANK", "0")))) > 0:
        check_port(host, port, patience_seconds=patience_seconds)


def _slurm() -> Any | None:
    """Return what Slurm says of this job, None outside of one. Imported here: a launcher needs no Lightning."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None


def choose_interface(host: str, *, environ: MutableMapping[str, str] = os.environ) -> str:
    """Point gloo and NCCL to the interface that leads to ``host``, unless they are told already; return our address.

    Raises NetworkError where that address is loopback, which no other node can reach.
    """
    address = own_address(host)
    if ipaddress.ip_address(address).is_loopback:
        raise NetworkError(
            f"The main node's address '{host}' leads to loopback ({address}), which other nodes cannot reach",
            where="MASTER_ADDR",
            hint="give the main node's address in the network that all nodes share; `ip -brief address` lists it",
        )
    name = interface_of(address)
    for variable in INTERFACE_VARIABLES:
        if name is not None:
            environ.setdefault(variable, name)
    return address


def own_address(host: str) -> str:
    """Return the address from which this machine would speak to ``host``, by its routes; nothing is sent."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return probe.getsockname()[0]
    except OSError as error:
        raise NetworkError(
            f"No way leads to the main node '{host}' ({error.strerror or error})",
            where="MASTER_ADDR",
            hint="give a name or an address that every node can reach",
        ) from error


def interface_of(address: str) -> str | None:
    """Return the name of the interface with this IPv4 address; None where there is none, as for IPv6."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue  # an interface without an IPv4 address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def check_port(host: str, port: int, *, patience_seconds: float) -> None:
    """Return once somebody listens at ``host:port``.

    A refusal says that the machine is there and its process is not yet, so it is asked again until the
    patience ends. Silence (a firewall), or no route, is an error after at most 10 seconds.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=min(10.0, patience_seconds)).close()
            return
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise NetworkError(
                f"The main node does not answer at {host}:{port} ({error.strerror or error})",
                where="MASTER_ADDR, MASTER_PORT",
                hint="is node 0 started, and is the port open between the nodes? Another port: --master-port",
            ) from error
