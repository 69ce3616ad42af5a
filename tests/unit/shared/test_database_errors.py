"""What counts as an outage of the database, and what does not."""

from __future__ import annotations

import asyncpg
import pytest

from shared.database import translated
from shared.errors import Unavailable

DoesNotFit: type[Exception] = type("DoesNotFit", (asyncpg.InterfaceError, ValueError), {})
"""As asyncpg raises it for a value that its column cannot hold."""


async def test_a_lost_connection_is_an_outage() -> None:
    with pytest.raises(Unavailable):
        async with translated():
            raise asyncpg.InterfaceError("connection is closed")


async def test_a_value_that_does_not_fit_its_column_is_none() -> None:
    with pytest.raises(DoesNotFit):
        async with translated():
            raise DoesNotFit("value out of int32 range")
