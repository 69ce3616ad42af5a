"""Download links: addresses that work for a while without a credential, because they are signed."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from services.gateway.settings import LINK_LIFE_S
from shared import tickets
from shared.contracts.base import Scope
from shared.contracts.results import ArtifactEntry
from shared.contracts.transfers import ArtifactDownload
from shared.errors import NotFound

PURPOSE = "download"
"""What the tickets in download links are good for."""


class LinkClaims(BaseModel):
    """What a link gives the right to; short names, since they travel in an address."""

    model_config = ConfigDict(frozen=True)

    t: UUID  # tenant
    p: UUID  # project
    x: UUID  # execution
    e: int  # epoch
    a: UUID  # artifact
    n: str  # file name

    @property
    def download(self) -> ArtifactDownload:
        """The same as artifacts wants to hear it."""
        return ArtifactDownload(
            scope=Scope(tenant_id=self.t, project_id=self.p), execution_id=self.x, epoch=self.e, artifact_id=self.a
        )


class Links:
    """Signs and reads download links."""

    def __init__(self, *, key: str, public_url: str | None) -> None:
        self._key = key
        self.public_url = public_url.rstrip("/") if public_url else None

    def sign(self, base_url: str, scope: Scope, execution_id: UUID, epoch: int, artifact: ArtifactEntry) -> str:
        """An absolute address for one artifact, good for 15 minutes."""
        claims = LinkClaims(
            t=scope.tenant_id,
            p=scope.project_id,
            x=execution_id,
            e=epoch,
            a=artifact.artifact_id,
            n=artifact.file_name,
        )
        ticket = tickets.sign(claims.model_dump(mode="json"), key=self._key, purpose=PURPOSE, life_s=LINK_LIFE_S)
        return f"{base_url}/downloads/{ticket}/{quote(artifact.file_name, safe='')}"

    def read(self, ticket: str) -> LinkClaims:
        """What a ticket gives the right to. Raises NotFound for one that is forged or over."""
        try:
            return LinkClaims.model_validate(tickets.verify(ticket, key=self._key, purpose=PURPOSE))
        except (tickets.BadTicket, ValidationError, KeyError) as error:
            over = str(error) == "expired"
            raise NotFound(
                "This download link has expired; ask for the results again to get a new one."
                if over
                else "There is no such download."
            ) from error
