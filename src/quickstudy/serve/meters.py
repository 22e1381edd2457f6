"""What is counted, for Prometheus: of all processes together, in files that they share."""

from __future__ import annotations

import os
from typing import Any

from quickstudy.errors import MissingExtra

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Meters:
    """Of one process. The folder of the files must be in the environment before prometheus_client is imported."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingExtra("prometheus-client", "serve", "A server") from error
        own = CollectorRegistry()  # which is not read: what is told is in the files
        self.requests = Counter("quickstudy_requests_total", "Requests", ["method", "route", "status"], registry=own)
        self.refusals = Counter(
            "quickstudy_refusals_total", "Requests that were refused, by reason", ["code"], registry=own
        )
        self.seconds = Histogram(
            "quickstudy_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, registry=own
        )
        self.together = Histogram(
            "quickstudy_asked_together",
            "Records that were answered by one forward pass",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=own,
        )
        self.running = Gauge(
            "quickstudy_running_requests",
            "Requests that are being worked on",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.held = Gauge("quickstudy_held_models", "Models in memory", multiprocess_mode="livesum", registry=own)

    def text(self) -> tuple[bytes, str]:
        """All of it as text, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

        registry: Any = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST


def ended(process: int) -> None:
    """What a process that is gone had at this moment counts no more."""
    if os.environ.get(FOLDER):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(process)
