"""The connection to a Ray cluster: made, checked and ended, with Ray's failures in words."""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayError, RayTaskError

from manyheads import ManyheadsError

SAME = ("manyheads", "torch", "numpy", "gymnasium")
"""packages whose versions must be equal on all nodes: weights and rows travel between them"""
PASSED_ON = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MANYHEADS_DISABLE_PLUGINS")
"""environment variables that processes on other nodes need as they are here"""
DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
}
"""Ray tells nobody that it is used; and a busy machine may take minutes to start its processes"""
SECONDS = 10.0
"""in which a cluster must answer"""
START = "`ray start --head` on one machine starts a cluster; without ray.address Ray starts on this machine alone."
FULL = (
    "Ray's object store is full on {node}: {what} found no room ({error}). Collected rows are kept. Give Ray more "
    "memory (`ray start --object-store-memory=BYTES`) or room in its temporary folder, set a smaller "
    "ray.chunk_steps, or use fewer collectors, or parts of heads."
)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Inside, Ray is there: the cluster at `address`, or RAY_ADDRESS, or one that starts here and ends here.

    A connection that is there already is used and left as it is. Raises ManyheadsError where no cluster answers, or
    one whose Ray or Python differs.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address not in (None, "auto", "local"):
        _require_answer(address)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ}},
        )
    except (ConnectionError, ValueError) as error:
        raise ManyheadsError(
            f"No Ray cluster answers at {address or 'this machine'}: {_first(error)}. {START}"
        ) from error
    except RuntimeError as error:
        if "mismatch" not in str(error):
            raise
        raise ManyheadsError(
            f"The Ray cluster at {address} and this process differ: {' '.join(str(error).split())} "
            "Install the same versions of Python and Ray on every node."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def versions() -> dict[str, str]:
    """What must be equal on all nodes, of this process."""
    return {"Python": platform.python_version(), **{name: version(name) for name in SAME}}


def require_same_versions(node: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Raises ManyheadsError that names the node and what differs there from the versions of the command."""
    differ = [(name, own) for name, own in ours.items() if theirs.get(name) != own]
    if differ:
        odd = ", ".join(f"{name} {theirs.get(name)} where this command has {own}" for name, own in differ)
        raise ManyheadsError(
            f"Node {node} has {odd}. Install the same versions on every node: `pip freeze` here, "
            "`pip install -r` there."
        )


def in_words(error: RayError, what: str) -> BaseException:
    """What is to be raised for an error of Ray's in doing `what`: the user's own mistake as it was, else words."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, ManyheadsError):
        return error.cause
    if isinstance(error, (ObjectStoreFullError, OutOfDiskError)) or "ObjectStoreFull" in str(error):
        return ManyheadsError(FULL.format(node=f"node {this_node()}", what=what, error=_first(error)))
    if missing := re.search(r"No module named '([^']+)'", str(error)):
        return ManyheadsError(
            f"A node of the cluster has no module {missing[1]}, which {what} need there. Install manyheads and its "
            "plugins with the same versions on every node, in the Python that `ray start` runs with."
        )
    return error


def cores() -> tuple[float, float]:
    """Of the whole cluster, and those that nothing has taken."""
    every, free = ray.cluster_resources(), ray.available_resources()
    return every.get("CPU", 0.0), free.get("CPU", 0.0)


def this_node() -> str:
    """The address of this process's node."""
    return str(ray.util.get_node_ip_address())


def _require_answer(address: str) -> None:
    """Ray itself tries for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS):
            return
    except ValueError:
        raise ManyheadsError(
            f"ray.address={address!r} is not an address: expected host:port, as 10.0.0.1:6379."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ManyheadsError(f"No Ray cluster answers at {address}: {reason}. {START}") from None


def _first(error: BaseException) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
