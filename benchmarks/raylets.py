"""A cluster of several Ray nodes on one machine, as real processes that can be killed: a head and workers that pretend to have cards.

Nodes differ by loopback address (127.0.0.2, .3, …), so that each has its own HTTP front. The tiny profile's models run on the CPU;
their cards are bookkeeping, which is all that placement is.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import yaml

from serve.local import haproxy_binary

CARDS = {"L40S": "L40S", "A100-80GB": "A100"}  # kind, and what Ray calls it
FRONT = """#!/usr/bin/env bash
# This node's HTTP front on this node's address only: all nodes share one machine.
for ((i = 1; i < $#; i++)); do
    if [[ "${!i}" == "-f" ]]; then next=$((i + 1)); sed -i -e "s/bind \\*:%d/bind $NODE_ADDRESS:%d/" "${!next}"; fi
done
exec "%s" "$@"
"""


@dataclass
class Node:
    """One Ray node."""

    name: str
    address: str
    process: subprocess.Popen[bytes]


@dataclass
class Raylets:
    """The machine's nodes. port: the first of about forty that are used. store: where the head keeps what it knows."""

    folder: Path
    port: int
    store: Literal["redis", "none"] = "none"
    environment: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    redis: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """The API through the first worker's front."""
        return f"http://127.0.0.3:{self.port + 10}"

    def start_redis(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            sys.exit("redis-server is missing; Debian's package redis-server has it")
        command = [binary, "--port", str(self.port + 20), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes"]
        self.redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def start_head(self) -> None:
        # Ray takes the workers of this machine for a head that runs, if this file names it; on a head's own host there are none.
        (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
        self._start(
            "head",
            "127.0.0.2",
            f"--head --port={self.port} --num-cpus=0 --num-gpus=0 --include-dashboard=true --dashboard-host=127.0.0.1 "
            f"--dashboard-port={self.port + 1} --ray-client-server-port={self.port + 2}".split(),
        )

    def start_worker(self, name: str, kind: str, cards: int, *, cpus: int = 32, visible: str | None = None) -> None:
        """visible: the real card that this node has, for CUDA; not given, whatever the machine has."""
        number = 3 + sum(node.address > "127.0.0.2" for node in self.nodes.values() if node.name != name)
        label = f"--labels=ray.io/accelerator-type={CARDS[kind]}"
        options = [f"--address=127.0.0.2:{self.port}", f"--num-gpus={cards}", f"--num-cpus={cpus}", label]
        self._start(name, f"127.0.0.{number}", options, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})

    def _start(self, name: str, address: str, options: list[str], own: Mapping[str, str] | None = None) -> None:
        number = int(address.rsplit(".", 1)[1])
        front = self.folder / f"front-{number}"
        front.mkdir(exist_ok=True)
        script = front / "haproxy"
        script.write_text(FRONT % (self.port + 10, self.port + 10, Path("serve/haproxy.sh").absolute()))
        script.chmod(0o755)
        base = self._ports(address)
        wanted = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_raylet_start_wait_time_s": "150",  # a busy machine
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "1800",
            "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "1",
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(script),
            "RYLA_HAPROXY_BINARY": haproxy_binary(),
            "NODE_ADDRESS": address,
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(base),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(base + 1),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(front / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(front / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(front),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(front / "server-state"),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            "PYTHONPATH": code_path(),
            "RYLA_PORT": str(self.port + 10),
            "RYLA_WEIGHTS_ROOT": str(self.folder / "weights"),
            "RYLA_LORA_ROOT": str(self.folder / "loras"),
            "RYLA_DATABASE_URL": f"sqlite:///{self.folder}/jobs.db",
            "OMP_NUM_THREADS": "1",
        } | self.environment
        wanted |= own or {}
        if self.store == "redis":
            wanted["RAY_REDIS_ADDRESS"] = f"127.0.0.1:{self.port + 20}"
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            f"--node-ip-address={address}",
            f"--metrics-export-port={base + 2}",
        ]
        command += [f"--dashboard-agent-listen-port={base + 3}", "--min-worker-port=0", "--max-worker-port=0"]
        command += ["--object-store-memory=300000000", f"--temp-dir={self.folder}/ray"] if "--head" in options else []
        command += options if "--head" in options else [*options, "--object-store-memory=300000000"]
        log = (self.folder / f"{name}.log").open("ab")
        # Elsewhere than in this folder: Ray puts the folder it was started in before any release of the code.
        process = subprocess.Popen(command, env=os.environ | wanted, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        self.nodes[name] = Node(name, address, process)
        up = log.tell()  # a node that comes back writes on
        wait_until(lambda: b"Ray runtime started" in Path(log.name).read_bytes()[up:], f"node {name} is up", 200)

    @property
    def token(self) -> Path:
        path = self.folder / "token"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path

    @property
    def metrics(self) -> dict[str, str]:
        """Where each node's metrics are scraped."""
        return {node.name: f"http://{node.address}:{self._ports(node.address) + 2}/metrics" for node in self.nodes.values()}

    def _ports(self, address: str) -> int:
        """The first of a node's four own ports."""
        return self.port + 40 + 10 * int(address.rsplit(".", 1)[1])

    def kill(self, name: str) -> None:
        """Kill a node as a power cut would: all its processes at once."""
        for process in _family(self.nodes.pop(name).process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        for name in list(self.nodes):
            self.kill(name)
        for process in _left_in(self.folder):
            process.kill()
        if self.redis is not None:
            self.redis.kill()

    def deploy(self, config: dict[str, Any]) -> None:
        """`serve deploy`, to this cluster."""
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token), "PYTHONPATH": code_path()}
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", str(file), "-a", f"http://127.0.0.1:{self.port + 1}"]
        subprocess.run(command, env=os.environ | ours, check=True, stdout=subprocess.DEVNULL)

    def applications(self) -> dict[str, Any]:
        """What Serve says of its apps; nothing while the head does not answer."""
        head = {"Authorization": f"Bearer {self.token.read_text()}"}
        try:
            reply = httpx.get(f"http://127.0.0.1:{self.port + 1}/api/serve/applications/", headers=head, timeout=5)
            return reply.json()["applications"] if reply.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            return {}

    def replicas(self, *, running: bool = True) -> dict[str, list[str]]:
        """Addresses of the nodes on which each deployment's replicas are: those that run, or all that have a place."""
        found: dict[str, list[str]] = {}
        for replica in self._replicas():
            if (replica["state"] == "RUNNING" or not running) and replica.get("node_ip"):
                found.setdefault(replica["deployment"], []).append(replica["node_ip"])
        return {name: sorted(nodes) for name, nodes in found.items()}

    def actors(self) -> set[str]:
        """Ids of the actors of running replicas: another process has another id."""
        return {replica["actor_id"] for replica in self._replicas() if replica["state"] == "RUNNING"}

    def _replicas(self) -> Iterator[dict[str, Any]]:
        for app in self.applications().values():
            for name, deployment in app["deployments"].items():
                yield from ({**replica, "deployment": name} for replica in deployment["replicas"])


def code_path() -> str:
    """Where the nodes' processes find this code, and packages that lie outside the interpreter's own folder."""
    return os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _left_in(folder: Path) -> Iterator[psutil.Process]:
    """Processes that outlived their node and belong to this cluster: their command line or environment names its folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = str(folder) in " ".join(process.cmdline()) or str(folder) in process.environ().get("RAY_AUTH_TOKEN_PATH", "")
            if ours and process.pid != os.getpid():
                yield process


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 300.0) -> float:
    """Seconds until `holds`. Raises TimeoutError."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.25)
    return time.monotonic() - began
