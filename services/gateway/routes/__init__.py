"""Every call of the API, in the order in which addresses are compared: fixed words before ids."""

from __future__ import annotations

from services.gateway.calls import Call
from services.gateway.routes import artifacts, cells, datasets, executions, notebooks, service, vendor

CALLS: tuple[Call, ...] = (
    *service.CALLS,
    *vendor.CALLS,
    *notebooks.CALLS,
    *cells.CALLS,
    *executions.CALLS,
    *artifacts.CALLS,
    *datasets.CALLS,
)
