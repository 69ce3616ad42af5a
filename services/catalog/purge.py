"""Removes what hidden notebooks own, in short transactions, and folds the tally; a crash at any step is made good."""

from __future__ import annotations

from services.catalog.automation.fires import queries as automatic
from services.catalog.store import queries
from shared.background import Background
from shared.database import Database

IDLE_S = 30.0
"""How often a replica looks for work of its own accord, in seconds: what a crashed one left behind."""

STEPS = (
    automatic.remove_fires,
    queries.remove_executions,
    queries.remove_versions,
    queries.remove_contents,
    queries.remove_file_sets,
)
"""What goes before the notebook itself, in this order."""

CHUNK = 200
"""Rows of a table removed in one statement: a fraction of a second, even when each holds a large notebook."""

FIRES_KEPT_DAYS = 90
"""How long the history of automatic runs is kept, in days: a quarter, also of a schedule of every minute."""

CROWDED_TALLY = 500
"""A project's tally is folded when it has more rows than this."""

TALLY_CHUNK = 10_000
"""Rows of the tally folded in one statement: well below a second, however many notebooks a project got at once."""


class Purge(Background):
    """One background task a process. What is half removed when it closes stays hidden and is removed later."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    async def remove_hidden(self) -> int:
        """Remove all that hidden notebooks own, then the notebooks; returns how many went."""
        removed = 0
        while await self._remove_one():
            removed += 1
        return removed

    async def fold_tallies(self) -> None:
        """Keep the sums short that lists are counted by."""
        taken = TALLY_CHUNK
        while taken == TALLY_CHUNK:  # a whole chunk: there may be more
            async with self._database.transaction() as transaction:
                taken = await transaction.value(queries.fold_tallies, CROWDED_TALLY, TALLY_CHUNK)

    async def forget_fires(self) -> None:
        """Remove old history of automatic runs."""
        async with self._database.transaction() as transaction:
            while await transaction.execute(automatic.forget_fires, FIRES_KEPT_DAYS, CHUNK) == CHUNK:
                continue  # a whole chunk: there may be more

    async def work(self) -> float:
        """See Background."""
        await self.remove_hidden()
        await self.fold_tallies()
        await self.forget_fires()
        return IDLE_S

    async def _remove_one(self) -> bool:
        """One hidden notebook, a chunk a transaction; False when there is none left."""
        while True:
            async with self._database.transaction() as transaction:
                notebook_id = await transaction.value(queries.next_hidden)
                if notebook_id is None:
                    return False
                for statement in STEPS:
                    if await transaction.execute(statement, notebook_id, CHUNK):
                        break
                else:
                    await transaction.execute(queries.forget_tally, notebook_id)
                    await transaction.execute(queries.remove_notebook, notebook_id)
                    return True
