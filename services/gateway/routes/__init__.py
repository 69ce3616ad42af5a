"""Every call of the API, in the order in which addresses are compared: fixed words before ids."""

from __future__ import annotations

from services.gateway.calls import Call
from services.gateway.routes import (
    artifacts,
    cells,
    datasets,
    executions,
    libraries,
    notebook_upload,
    notebooks,
    pings,
    schedules,
    service,
    templates,
    vendor,
)

CALLS: tuple[Call, ...] = (
    *service.CALLS,
    *pings.CALLS,
    *notebooks.CALLS,
    *notebook_upload.CALLS,
    *cells.CALLS,
    *schedules.CALLS,
    *executions.CALLS,
    *artifacts.CALLS,
    *datasets.CALLS,
    *libraries.CALLS,
    *templates.CALLS,
    *vendor.CALLS,
)
