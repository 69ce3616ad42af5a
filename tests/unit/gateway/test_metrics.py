"""Requests are counted by address template, so that ids and inventions of clients make no new series."""

from __future__ import annotations

from prometheus_client import REGISTRY

from shared.contracts.notebooks import GetNotebook
from shared.errors import NotFound
from tests.unit.gateway.fake_ports import NOTEBOOK, Api


def counted(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("atelier_http_requests_total", labels) or 0.0


async def test_requests_are_counted_by_template(api: Api) -> None:
    api.requests.on(GetNotebook, NotFound("No."))
    route = "/api/{tenantId}/{projectId}/notebook/{notebookId}"
    before = counted("GET", route, 404)
    await api.call("GET", f"notebook/{NOTEBOOK.notebook_id}")
    assert counted("GET", route, 404) == before + 1


async def test_what_leads_nowhere_is_one_series(api: Api) -> None:
    before = counted("GET", "unmatched", 404)
    await api.call("GET", "/a/b/c")
    await api.call("GET", "/d")
    assert counted("GET", "unmatched", 404) == before + 2


async def test_invented_methods_are_one_series(api: Api) -> None:
    before = counted("other", "unmatched", 404)
    await api.call("PROPFIND", "/a")
    assert counted("other", "unmatched", 404) == before + 1
