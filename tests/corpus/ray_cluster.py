"""A Ray cluster of several nodes on loopback: each its own raylet, cores and processes, so that one can be killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from talweg.corpus.engines import python_path

ROOT = Path(__file__).parents[2]
OBJECT_STORE = 80_000_000  # bytes; tasks pass nothing through it


class Cluster:
    """`with Cluster(3) as cluster:` the nodes are named 0 (the head), 1, ...; tasks see the name in NODE."""

    def __init__(self, num_nodes: int, cores: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._num_nodes, self._cores = num_nodes, cores
        self._folder = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
        self.nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for _ in range(self._num_nodes):
                self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for name in reversed(range(len(self.nodes))):
            self.kill(name)
        self._folder.cleanup()

    def start(self) -> None:
        name = len(self.nodes)
        where = (
            ["--head", "--port", self.address.partition(":")[2], "--include-dashboard=false"]
            if name == 0
            else ["--address", self.address]
        )
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *where]
        command += ["--node-ip-address=127.0.0.1", f"--num-cpus={self._cores}", f"--temp-dir={self._folder.name}"]
        command += [f"--object-store-memory={OBJECT_STORE}", "--disable-usage-stats"]
        environment = {**os.environ, "NODE": str(name), "PYTHONPATH": f"{ROOT}{os.pathsep}{python_path()}"}
        log = Path(self._folder.name, f"node-{name}.log")
        with log.open("wb") as said:
            node = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
        self.nodes.append(node)
        for _ in range(600):
            if b"runtime started" in log.read_bytes():
                return
            if node.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(log.read_text())

    def kill(self, name: int) -> None:
        """kill -9 of a node: its raylet, its workers and all else that it started."""
        node = self.nodes[name]
        for pid in [*family(node.pid), node.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


def family(pid: int) -> list[int]:
    """All processes that descend from `pid`."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(parents.get(pid, []))
    for child in found:  # grows while it is walked
        found += parents.get(child, [])
    return found
