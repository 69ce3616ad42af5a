"""Forms and query strings of the calls about datasets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from services.gateway.bodies import Expected, OptionalText
from shared.contracts.base import Body
from shared.contracts.notebooks import Name, Precondition

HIGHEST_VERSION = 2_147_483_647
"""A version number is a 32-bit integer."""

ColumnName = Annotated[OptionalText, Field(None, description="found by itself when not given")]


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


class _FileFields(Body):
    """What may be said about a file with a table in it."""

    case_id_column: ColumnName
    activity_column: ColumnName
    time_column: ColumnName


class DatasetUploadFields(_FileFields):
    """The fields beside the file of `POST dataset`."""

    dataset_name: Name

    def precondition(self) -> Precondition:
        """None: what is made anew has no state before."""
        return Precondition()

    def members(self) -> dict[str, Any]:
        """The fields as the members of a command."""
        return self.model_dump()


class DatasetReplacementFields(_FileFields, Expected):
    """The fields beside the file of `PUT dataset/{datasetId}`."""

    dataset_name: Annotated[Name | None, BeforeValidator(_empty_is_none)] = Field(
        None, description="stays as it is when not given"
    )

    def precondition(self) -> Precondition:
        """The state that the caller believes to replace."""
        return Precondition(etag=self.etag or None, date_modified=None if self.etag else self.date_modified)

    def members(self) -> dict[str, Any]:
        """The fields as the members of a command."""
        members = self.model_dump(exclude={"etag", "date_modified"})
        return {**members, "dataset_name": self.dataset_name or ""}


Version = Annotated[
    int | None,
    BeforeValidator(_empty_is_none),
    Field(None, ge=1, le=HIGHEST_VERSION, description="the present one when not given"),
]


class DataQuery(Body):
    """In which form to hand out which version of a dataset."""

    format: Literal["csv", "parquet"] = "csv"
    version: Version
