"""Who may do what: roles, principals and the rules of sight, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from shared.contracts.base import Caller, Scope


class Role(IntEnum):
    """What a credential may do; each role may do all that the ones before it may."""

    viewer = 1
    """Reads."""
    runner = 2
    """Executes and cancels."""
    editor = 3
    """Changes notebooks and datasets."""
    admin = 4
    """Everything."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The holder of a credential that has been checked."""

    credential: str  # unique among all credentials; keeps the idempotency keys of two callers apart
    subject: str  # the name people see, such as `createdBy`
    tenant_id: UUID
    project_id: UUID | None  # None: every project of the tenant
    role: Role

    def sees(self, scope: Scope) -> bool:
        """Whether anything of this tenant and project may be visible to the principal."""
        return scope.tenant_id == self.tenant_id and self.project_id in (None, scope.project_id)

    def may(self, role: Role) -> bool:
        """Whether the principal's role is `role` or a higher one."""
        return self.role >= role

    @property
    def caller(self) -> Caller:
        """The principal as commands carry it."""
        return Caller(subject=self.subject, role=self.role.name)
