"""Being connected to Ray for as long as it is needed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from quickstudy.errors import ConfigError, MissingExtra

_log = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds for a cluster to answer


@contextmanager
def connected(workers: int) -> Iterator[None]:
    """Within it, this process is connected to Ray: as it was before, or to the cluster that Ray finds, or to one begun
    here. What was begun is ended after.

    Raises MissingExtra without Ray, and ConfigError where a cluster does not answer or has no processor.
    """
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise MissingExtra("ray", "cluster", "Computing on a cluster") from error
    mine = not ray.is_initialized()
    before = signal.getsignal(signal.SIGTERM)  # for which Ray has a handler of its own
    if mine:
        try:
            _knock(os.environ.get("RAY_ADDRESS", ""))
            ray.init(include_dashboard=False, logging_level=logging.WARNING)
        except (RayError, OSError, RuntimeError, ValueError) as error:
            why = f"{type(error).__name__}: {str(error)[:300]}"
            raise ConfigError(
                f"Ray cannot be reached or started ({why}). Look at RAY_ADDRESS and `ray status`, and whether all "
                "machines have one token (RAY_AUTH_TOKEN, or ~/.ray/auth_token)."
            ) from error
    try:
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < 1:
            raise ConfigError("The Ray cluster has no processors (CPU: 0). Start it with --num-cpus, or add machines.")
        if processors < workers:
            _log.info("Ray has %d processors for %d workers: that many compute at once.", processors, workers)
        yield
    finally:
        if mine:
            ray.shutdown()
            if before is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """OSError where nobody listens at host:port, for which Ray would wait many minutes. Other addresses are Ray's."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
