"""Metrics of a worker's processes, told to its supervisor and shown there as those of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

PIECE = 200
"""Samples in one message."""

OWN = ("process_", "python_")
"""Names of metrics that are about one process alone begin so; only the supervisor's are shown."""

Piece = list[list[Any]]


def taken() -> list[Piece]:
    """Return this process's samples now, in pieces for messages."""
    found: Piece = []
    for metric in REGISTRY.collect():
        if not metric.name.startswith(OWN):
            found += [
                [metric.name, metric.type, metric.documentation, one.name, one.labels, one.value]
                for one in metric.samples
            ]
    return [found[at : at + PIECE] for at in range(0, len(found), PIECE)] or [[]]


class Together:
    """The samples of several processes added up: a registry as `generate_latest` takes it. `others` are samples as
    `taken` gives them."""

    def __init__(self, others: Iterable[Piece]) -> None:
        self._others = list(others)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client's CollectorRegistry."""
        metrics: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for name, kind, text, sample, labels, value in self._all():
            if name not in metrics:
                metrics[name] = Metric(name, text, kind)
                values[name] = {}
            key = (sample, tuple(sorted(labels.items())))
            before = values[name].get(key)
            if before is None:
                values[name][key] = value
            else:
                values[name][key] = min(before, value) if sample.endswith("_created") else before + value
        for name, metric in metrics.items():
            metric.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in values[name].items()]
            yield metric

    def _all(self) -> Iterator[tuple[str, str, str, str, dict[str, str], float]]:
        for metric in REGISTRY.collect():
            for one in metric.samples:
                yield metric.name, metric.type, metric.documentation, one.name, one.labels, one.value
        for piece in self._others:
            for name, kind, text, sample, labels, value in piece:  # noqa: UP028 - lists become tuples
                yield name, kind, text, sample, labels, value


def exposition(others: Iterable[Piece]) -> bytes:
    """Return this process's metrics and those of the others in Prometheus' text format."""
    return generate_latest(Together(others))
