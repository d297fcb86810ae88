"""What Prometheus reads: how many requests each route answered, with which status and how fast. No text of anybody's.

If several processes serve, each writes its counts into files of the folder in the environment variable SHARED, and
whichever is asked adds them up.
"""

import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from siamese.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Metrics:
    """The counts of one application."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        requests = Counter("siamese_requests", "Requests answered", ("method", "route", "status"), registry=own)
        seconds = Histogram("siamese_request_seconds", "Time to answer", ("route",), registry=own, buckets=BUCKETS)
        self._of_process, self._requests, self._seconds = own, requests, seconds
        self._children: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. The first three come from a small fixed set, or the counts would grow without bound."""
        if (key := (method, route, status)) not in self._children:
            counted, timed = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._children[key] = counted.inc, timed.observe
        count, time = self._children[key]
        count()
        time(seconds)

    def text(self, questions: int | None) -> bytes:
        """Return all counts, and the number of questions in the archive unless it is None, in Prometheus' format."""
        registry = CollectorRegistry()
        if SHARED in os.environ:
            MultiProcessCollector(registry)
        else:
            registry.register(self._of_process)
            ProcessCollector(registry=registry)
        registry.register(_Now(questions))
        return generate_latest(registry)


class _Now:
    """What is looked up when Prometheus asks."""

    def __init__(self, questions: int | None) -> None:
        self._questions = questions

    def collect(self) -> Iterator[InfoMetricFamily | GaugeMetricFamily]:
        yield InfoMetricFamily("siamese", "The service", {"version": VERSION})
        if self._questions is not None:
            yield GaugeMetricFamily("siamese_archive_questions", "Questions in the archive", self._questions)
