"""`/asyncapi.json`: AsyncAPI 3 of the events on the topic exchange, made from the event models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic.json_schema import models_json_schema

from shared import topology
from shared.contracts import (  # the events register by being imported
    datasets,
    execution_events,
    notebooks,
    results,
    schedules,
)
from shared.contracts.base import Event
from shared.envelope import CONTENT_TYPE

__all__ = ["datasets", "document", "events", "execution_events", "notebooks", "results", "schedules"]


def events() -> list[type[Event]]:
    """Every kind of event, by type."""
    return sorted(_concrete(Event), key=lambda event: event.type)


def _concrete(event: type[Event]) -> Iterator[type[Event]]:
    for kind in event.__subclasses__():
        if "type" in vars(kind):
            yield kind
        yield from _concrete(kind)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole description."""
    kinds = events()
    references, definitions = models_json_schema(
        [(kind, "serialization") for kind in kinds], by_alias=True, ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Atelier events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in JSON. The topic key ends with the ids of tenant, project and thing.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            kind.__name__: {
                "address": f"{kind.type}.#",
                "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
                "bindings": {
                    "amqp": {
                        "is": "routingKey",
                        "exchange": {"name": topology.EVENTS, "type": "topic", "durable": True},
                    }
                },
            }
            for kind in kinds
        },
        "operations": {
            f"receive{kind.__name__}": {"action": "receive", "channel": {"$ref": f"#/channels/{kind.__name__}"}}
            for kind in kinds
        },
        "components": {
            "messages": {
                kind.__name__: {
                    "name": kind.type,
                    "summary": (kind.__doc__ or "").strip().splitlines()[0],
                    "contentType": CONTENT_TYPE,
                    "payload": {
                        "type": "object",
                        "required": ["specversion", "id", "source", "type", "time", "data"],
                        "properties": {
                            "specversion": {"const": "1.0"},
                            "type": {"const": kind.type},
                            "data": dict(references[(kind, "serialization")]),
                        },
                    },
                }
                for kind in kinds
            },
            "schemas": definitions["$defs"],
        },
    }
