"""docs/operations.md lists every setting with its default, every metric, and none that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from services import broker_definitions
from services.artifacts.settings import ArtifactsSettings
from services.catalog.settings import CatalogSettings
from services.executor.settings import ExecutorSettings, WorkerSettings
from services.gateway.settings import JwtSettings, Settings
from services.migrate import SERVICES
from shared.settings import ObjectStoreSettings, ServiceSettings, WorkDirectory
from tests.unit.docs import documents
from tests.unit.docs.documents import ROOT

NAME = "docs/operations.md"
CLASSES: tuple[type[BaseSettings], ...] = (
    ServiceSettings,
    Settings,
    JwtSettings,
    CatalogSettings,
    ExecutorSettings,
    WorkerSettings,
    ArtifactsSettings,
    ObjectStoreSettings,
    WorkDirectory,
)
OTHERS = {
    "ATELIER_POSTGRES_DSN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    broker_definitions.PASSWORD,
    *(f"ATELIER_{service.upper()}_AMQP_URL" for service in SERVICES),
}
"""Read without a settings class, by `services.migrate`, `services.broker_definitions` and OpenTelemetry."""


def settings() -> Iterator[tuple[str, Any]]:
    """Each setting as its variable's name and its default in words; None where that is long or the machine's."""
    for settings_class in CLASSES:
        prefix = settings_class.model_config["env_prefix"]
        for name, field in settings_class.model_fields.items():
            default: Any = "required"
            if not field.is_required():
                default = "none" if field.default is None else f"`{field.default}`" if field.default != "" else "empty"
                if isinstance(field.default, Path | tuple) or name == "worker_slots":
                    default = None
            yield f"{prefix}{name.upper()}", default


def rows() -> dict[str, set[str]]:
    """The variables of the document's tables with the defaults it names."""
    found: dict[str, set[str]] = {}
    for words, second in documents.first_cells(NAME):
        for word in words:
            if word.startswith(("ATELIER_", "OTEL_")):
                found.setdefault(word, set()).add(second)
    return found


@pytest.mark.parametrize(("variable", "default"), sorted(set(settings()), key=str))
def test_a_setting_is_listed_with_its_default(variable: str, default: str | None) -> None:
    said = rows()[variable]
    if default is not None:
        assert default in said


def test_no_setting_is_invented() -> None:
    known = {variable for variable, _ in settings()} | OTHERS
    assert set(rows()) <= known
    assert {word for word in documents.code_words(NAME) if re.fullmatch(r"(ATELIER|OTEL)_\w+", word)} <= known


def test_every_settings_class_is_checked() -> None:
    sources = [ROOT / "shared/settings.py", *(ROOT / f"services/{service}/settings.py" for service in SERVICES)]
    pattern = re.compile(r"^class (\w+)\(\w*Settings\w*", re.MULTILINE)
    defined = {name for path in sources for name in pattern.findall(path.read_text())}
    checked = {parent.__name__ for settings_class in CLASSES for parent in settings_class.__mro__}
    assert defined <= checked


def test_every_metric_is_listed_and_no_other() -> None:
    made: dict[str, str] = {}
    for top in ("services", "shared"):
        for path in (ROOT / top).rglob("*.py"):
            for kind, name in re.findall(r"\b(Counter|Gauge|Histogram)\(\s*\"(\w+)\"", path.read_text()):
                made[name] = kind.lower()
    assert len(made) >= 15
    listed = {words[0]: second for words, second in documents.first_cells(NAME) if words}
    assert {name: listed.get(name) for name in made} == made
    words = {word for word in documents.code_words(NAME) if re.fullmatch(r"atelier_\w+", word)}
    claims = set(re.findall(r'claims\.get\("(atelier_\w+)"\)', (ROOT / "services/gateway/tokens.py").read_text()))
    assert words == set(made) | claims
