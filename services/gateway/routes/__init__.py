"""Every call of the API, in the order in which addresses are compared: fixed words before ids."""

from __future__ import annotations

from services.gateway.calls import Call
from services.gateway.routes import (
    artifacts,
    cells,
    comparing,
    datasets,
    executions,
    files,
    libraries,
    lineage,
    notebook_upload,
    notebooks,
    pings,
    projects,
    reports,
    schedules,
    service,
    starting,
    storage,
    templates,
    values,
    vendor,
    versions,
)

CALLS: tuple[Call, ...] = (
    *service.CALLS,
    *projects.CALLS,
    *pings.CALLS,
    *notebooks.CALLS,
    *notebook_upload.CALLS,
    *cells.CALLS,
    *files.CALLS,
    *versions.CALLS,
    *schedules.CALLS,
    *starting.CALLS,
    *values.CALLS,
    *executions.CALLS,
    *comparing.CALLS,
    *artifacts.CALLS,
    *reports.CALLS,
    *lineage.CALLS,
    *datasets.CALLS,
    *libraries.CALLS,
    *templates.CALLS,
    *storage.CALLS,
    *vendor.CALLS,
)
