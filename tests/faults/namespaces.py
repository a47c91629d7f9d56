"""Two hosts on one machine: network namespaces with a cable between them. Needs Linux, root and iproute2."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Hosts", "why_not"]


def why_not() -> str:
    """Return why this machine cannot have two hosts; an empty text where it can."""
    if shutil.which("ip") is None:
        return "two hosts need `ip` of iproute2"
    if os.geteuid() != 0:
        return "two hosts need root, for network namespaces"
    try:
        with Hosts():
            return ""
    except subprocess.CalledProcessError as error:
        return f"this machine gives no network namespaces: {error.stderr.strip()}"


class Hosts:
    """Hosts 0 and 1 with the addresses 10.77.0.1 and 10.77.0.2. On leaving, whatever runs on them is killed."""

    def __enter__(self) -> Hosts:
        self.names = [f"calm-{os.getpid()}-{node}" for node in (0, 1)]
        try:
            for name in self.names:
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            first, second = self.names
            _ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "name", "cable", "netns", second)
            for node, name in enumerate(self.names):
                _ip("-n", name, "address", "add", f"{self.address(node)}/24", "dev", "cable")
                _ip("-n", name, "link", "set", "cable", "up")
        except subprocess.CalledProcessError:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()

    def address(self, node: int) -> str:
        return f"10.77.0.{node + 1}"

    def namespace(self, node: int) -> Path:
        """Return the file by which a process enters a host (setns)."""
        return Path("/run/netns") / self.names[node]

    def command(self, node: int, *words: str) -> list[str]:
        """Return a command that runs ``words`` on a host; its process becomes that of the words."""
        return ["ip", "netns", "exec", self.names[node], *words]

    def set_link(self, *, is_up: bool) -> None:
        """Plug the cable in, or pull it: packets are lost on one side, and have no route on the other."""
        _ip("-n", self.names[1], "link", "set", "cable", "up" if is_up else "down")

    def pids(self, node: int) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", self.names[node]).split()]

    def kill_all(self, node: int) -> None:
        """kill -9 everything that runs on a host, until nothing does."""
        while pids := self.pids(node):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _remove(self) -> None:
        for node, name in enumerate(self.names):
            with suppress(subprocess.CalledProcessError):  # it was never there
                self.kill_all(node)
                _ip("netns", "delete", name)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
