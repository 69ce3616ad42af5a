"""Isolation levels: which layers hold on this machine, what that amounts to, and whether it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from services.executor.kernels.forkserver.landlock import CONFINING_ABI

Level = Literal["strong", "confined", "none"]

ORDER: tuple[Level, ...] = ("none", "confined", "strong")

STRONG_LAYERS = ("pid", "mount", "net", "ipc", "landlock", "seccomp")
CONFINED_LAYERS = ("landlock", "seccomp")
"""DESIGN.md decision 8. A user of its own, control groups and the host name's namespace come on top where possible."""


class TooLittleIsolation(RuntimeError):
    """The machine does not allow the isolation that is asked for; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """What the fork server found when it tried each layer."""

    level: Level
    layers: dict[str, dict[str, Any]]
    faults: list[str]
    user_namespace: bool

    @classmethod
    def of(cls, report: dict[str, Any]) -> Isolation:
        """From the server's report."""
        layers, faults = report["layers"], list(report["faults"])
        return cls(
            level=_level(layers, faults), layers=layers, faults=faults, user_namespace=bool(report["userNamespace"])
        )

    def holds(self, layer: str) -> bool:
        """Whether one layer is applied to kernels."""
        return bool(self.layers.get(layer, {}).get("ok"))

    def missing(self, level: Level) -> list[str]:
        """What `level` needs and is not there, each with its reason."""
        if not self.layers:
            return self.faults
        needed = {"strong": STRONG_LAYERS, "confined": CONFINED_LAYERS, "none": ()}[level]
        reasons = [f"{name} ({self.layers[name]['detail']})" for name in needed if not self.layers[name]["ok"]]
        if level == "confined" and not reasons and not _scopes_signals(self.layers):
            reasons.append(f"Landlock ABI {CONFINING_ABI} or newer (here: {self.layers['landlock']['detail']})")
        return reasons + (self.faults if level != "none" else [])

    def require(self, minimum: Level) -> None:
        """Raise TooLittleIsolation below `minimum`."""
        if ORDER.index(self.level) < ORDER.index(minimum):
            raise TooLittleIsolation(
                f"kernels would run with isolation level {self.level}, ATELIER_ISOLATION_MINIMUM is {minimum}. "
                f"Missing: {'; '.join(self.missing(minimum))}. Give the worker what is missing, or lower the minimum."
            )

    def details(self) -> dict[str, Any]:
        """For `/readyz`."""
        return {
            "level": self.level,
            "userNamespace": self.user_namespace,
            "layers": self.layers,
            **({"faults": self.faults} if self.faults else {}),
        }


NOTHING = Isolation(
    level="none", layers={}, faults=["kernels are plain processes of the worker's user"], user_namespace=False
)
"""Where the fork server does not run."""


def _level(layers: dict[str, dict[str, Any]], faults: list[str]) -> Level:
    if faults:
        return "none"
    if all(layers[name]["ok"] for name in STRONG_LAYERS):
        return "strong"
    if all(layers[name]["ok"] for name in CONFINED_LAYERS) and _scopes_signals(layers):
        return "confined"
    return "none"


def _scopes_signals(layers: dict[str, dict[str, Any]]) -> bool:
    detail: str = layers["landlock"]["detail"]
    version = detail.rpartition(" ")[2]
    return version.isdigit() and int(version) >= CONFINING_ABI
