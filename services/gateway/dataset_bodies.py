"""Forms and query strings of the calls about datasets."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from services.gateway.bodies import Expected, OptionalText, WholeNumber
from shared.contracts.base import Body, OptionalId
from shared.contracts.datasets import Encoding
from shared.contracts.notebooks import Name, Precondition

NAMED_DIRECTIVES = "ybBIp"
TIME_DIRECTIVES = "YmdHMSfz" + NAMED_DIRECTIVES
"""What a `timeFormat` may be made of; artifacts reads the named ones with the C library, without fractions."""

LONGEST_TIME_FORMAT = 60
"""Characters of a `timeFormat` at most."""

MAX_PREVIEW_ROWS = 1_000
"""Rows of a preview at most."""

HIGHEST_VERSION = 2_147_483_647
"""A version number is a 32-bit integer."""

ColumnName = Annotated[OptionalText, Field(None, description="found by itself when not given")]


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _known_encoding(value: Any) -> Any:
    """The encoding's name in our list, whatever alias it is given by (`latin1`, `cp1252`, `UTF8`)."""
    if not isinstance(value, str) or not value.strip():
        return _empty_is_none(value)
    same = {codecs.lookup(name).name: name for name in get_args(Encoding)}
    try:
        return same.get(codecs.lookup(value.strip()).name, value)
    except LookupError:
        return value


def _one_character(value: Any) -> Any:
    """A delimiter as one character; raises ValueError for what can be none."""
    if not isinstance(value, str) or not value:
        return _empty_is_none(value)
    character = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if len(character) != 1 or not character.isascii() or character.isalnum() or character in '"\r\n\0':
        raise ValueError("must be one ASCII character that is no letter, digit or quote, or `tab`")
    return character


def _time_format(value: Any) -> Any:
    """A format as it is; raises ValueError unless it names a date in the directives that are known."""
    if not isinstance(value, str) or not value:
        return _empty_is_none(value)
    found = re.findall(r"%(.?)", value)
    unknown = [f"%{letter}" for letter in found if not letter or letter not in TIME_DIRECTIVES]
    if unknown:
        raise ValueError(f"must not hold {unknown[0]}; the directives are %{', %'.join(TIME_DIRECTIVES)}")
    if len(set(found)) != len(found) or len(value) > LONGEST_TIME_FORMAT:
        raise ValueError(f"must name each directive once, in at most {LONGEST_TIME_FORMAT} characters")
    if not ({"Y", "y"} & set(found) and {"m", "b", "B"} & set(found) and "d" in found):
        raise ValueError("must name year, month and day, such as %d-%m-%Y %H:%M")
    if set(NAMED_DIRECTIVES) & set(found) and {"f", "z"} & set(found):
        raise ValueError("must not have %f or %z together with %y, %b, %B, %I or %p")
    return value


Delimiter = Annotated[str | None, BeforeValidator(_one_character)]
TimeFormat = Annotated[str | None, BeforeValidator(_time_format)]


class _FileFields(Body):
    """What may be said about a file with a table in it."""

    case_id_column: ColumnName
    activity_column: ColumnName
    time_column: ColumnName
    delimiter: Delimiter = Field(
        None, description="of a CSV file, one character or `tab`; found by itself when not given"
    )
    encoding: Annotated[Encoding | None, BeforeValidator(_known_encoding)] = Field(
        None, description="of a CSV file; found by itself when not given"
    )
    decimal: Annotated[Literal[".", ","] | None, BeforeValidator(_empty_is_none)] = Field(
        None, description="the decimal character of a CSV file; found by itself when not given"
    )
    time_format: TimeFormat = Field(
        None, description="of a CSV file, such as `%d-%m-%Y %H:%M`; found by itself when not given"
    )
    upload_id: OptionalId = Field(
        None, description="an id of your own, by which `GET dataset-uploads/{uploadId}` tells"
    )

    def said(self) -> dict[str, Any]:
        """The fields about the file as the members of a command."""
        writing = {"delimiter", "encoding", "decimal", "time_format"}
        rest = self.model_dump(include={"case_id_column", "activity_column", "time_column"})
        return {**rest, "writing": self.model_dump(include=writing), "progress_id": self.upload_id}


class DatasetUploadFields(_FileFields):
    """The fields beside the file of `POST dataset`."""

    dataset_name: Name

    def precondition(self) -> Precondition:
        """None: what is made anew has no state before."""
        return Precondition()

    def members(self) -> dict[str, Any]:
        """The fields as the members of a command."""
        return {**self.said(), "dataset_name": self.dataset_name}


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
        return {**self.said(), "dataset_name": self.dataset_name or ""}


Version = Annotated[
    Annotated[WholeNumber, Field(ge=1, le=HIGHEST_VERSION)] | None,
    BeforeValidator(_empty_is_none),
    Field(None, description="the present one when not given"),
]


class DataQuery(Body):
    """In which form to hand out which version of a dataset."""

    format: Literal["csv", "parquet"] = "csv"
    version: Version


class VersionQuery(Body):
    """Which version of a dataset."""

    version: Version


class PreviewQuery(VersionQuery):
    """How many of the first rows of which version."""

    rows: WholeNumber = Field(20, ge=1, le=MAX_PREVIEW_ROWS)
