"""The clock of schedules in a test's hands: every replica of the catalog reads it from the database."""

from __future__ import annotations

from datetime import datetime

import asyncpg


class Clock:
    """Stands still until it is set."""

    def __init__(self, admin_dsn: str) -> None:
        self._dsn = admin_dsn

    async def set(self, moment: datetime) -> None:
        """It is `moment` now."""
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(
                "CREATE OR REPLACE FUNCTION catalog.schedule_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
                f"$$SELECT '{moment.isoformat()}'::timestamptz$$"
            )
        finally:
            await connection.close()

    async def give_back(self) -> None:
        """The database's clock again."""
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(
                "CREATE OR REPLACE FUNCTION catalog.schedule_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
                "'SELECT clock_timestamp()'"
            )
        finally:
            await connection.close()
