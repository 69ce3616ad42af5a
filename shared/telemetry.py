"""One trace per request from outside, JSON logs that carry its ids, and the metrics every service shares."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from prometheus_client import Counter, Histogram

COMMANDS_HANDLED = Counter("atelier_commands_total", "Commands handled", ["command", "outcome"])
COMMAND_SECONDS = Histogram("atelier_command_seconds", "Time to handle a command", ["command"])
EVENTS_PUBLISHED = Counter("atelier_events_published_total", "Facts confirmed by the broker", ["type"])
EVENTS_CONSUMED = Counter("atelier_events_consumed_total", "Facts handled", ["type", "outcome"])

EXPORT_DELAY_MS = 500
"""How long finished spans may wait for company before they are exported, in milliseconds."""

_tracer = trace.get_tracer("atelier")

_ids = RandomIdGenerator()


def start(service: str, *, level: str) -> None:
    """Set up tracing and logging for this process. Spans leave only when OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"atelier-{service}"}))
    if _exports():
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=EXPORT_DELAY_MS))
    trace.set_tracer_provider(provider)
    _configure_logging(service, level)


def stop() -> None:
    """Send what spans are left."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


@contextmanager
def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, traceparent: str | None = None, **attributes: Any
) -> Iterator[Span]:
    """A span around a block; its parent is `traceparent` (W3C) when given, else the span in force here."""
    parent = propagate.extract({"traceparent": traceparent}) if traceparent else otel_context.get_current()
    if not _exports():
        with trace.use_span(NonRecordingSpan(_next_in(trace.get_current_span(parent).get_span_context()))) as current:
            yield current
        return
    present = {key: str(value) for key, value in attributes.items() if value is not None}
    with _tracer.start_as_current_span(name, context=parent, kind=kind, attributes=present) as current:
        yield current


def _exports() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def _next_in(above: SpanContext) -> SpanContext:
    """Ids for a span that nobody will see. Others may export theirs of the same trace, so ids and flags are passed on
    as if this one were kept."""
    return SpanContext(
        trace_id=above.trace_id if above.is_valid else _ids.generate_trace_id(),
        span_id=_ids.generate_span_id(),
        is_remote=False,
        trace_flags=above.trace_flags if above.is_valid else TraceFlags(TraceFlags.SAMPLED),
        trace_state=above.trace_state,
    )


def traceparent() -> str | None:
    """The span in force here as a W3C `traceparent`, to travel in a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def trace_id(of_traceparent: str | None) -> str | None:
    """The trace id inside a W3C `traceparent`."""
    return of_traceparent.split("-")[1] if of_traceparent else None


def _add_trace_ids(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event["trace_id"] = format(current.trace_id, "032x")
        event["span_id"] = format(current.span_id, "016x")
    return event


def _configure_logging(service: str, level: str) -> None:
    shared_processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_ids,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These libraries report every reconnection attempt and request; our own lines say it once.
    for noisy in ("aiormq", "aio_pika", "aiohttp.access", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    structlog.contextvars.bind_contextvars(service=service)
