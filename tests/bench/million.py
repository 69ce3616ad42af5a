"""Fills a catalog with very many notebooks: `python -m tests.bench.million --dsn postgresql://owner:…@host/database`.

The database makes the rows itself. Triggers and indexes are put aside meanwhile, and the indexes built anew at the
end: a million notebooks take one or two minutes that way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import typer

TENANT = UUID(int=0x7E)
"""All notebooks belong to this tenant; project n has the id n."""

SPECIAL = 12
"""So many names in each project, however large, have the word that the bench searches."""

RARE_WORD, SOME_WORD, COMMON_WORD = "quarterly", "yearly", "analysis"
"""What few names have, one in a hundred, and every other."""

_NOTEBOOKS = """
INSERT INTO notebook (notebook_id, tenant_id, project_id, name, name_key, kernel_type, enrichment_mode, cell_count,
                      version, etag, highest_cell_number, created_at, created_by, modified_at, status,
                      last_execution_date, execution_count)
SELECT md5($2::uuid || '-' || n)::uuid, $1, $2::uuid, name, lower(name),
       CASE WHEN n % 50 = 7 THEN 'scala' WHEN n % 10 = 3 THEN 'r' ELSE 'python3' END, n % 100 = 17, 1, '1.0.0',
       md5(n::text), 1, created, 'bench', date_trunc('milliseconds', created + (n * 7919 % 1000) * interval '1 hour'),
       CASE WHEN n % 200 = 11 THEN 'Running' WHEN n % 33 = 5 THEN 'Error' WHEN n % 200 = 13 THEN 'Kernel_Dead'
            ELSE 'Ready' END,
       CASE WHEN n % 4 > 0 THEN created + (n * 104729 % 5000) * interval '1 minute' END, n % 4
FROM (
    SELECT n, timestamptz '2024-01-01' + (n * 48271::bigint % 2147483647 % 20000000) * interval '1 second' AS created,
           (ARRAY['Customer', 'Order', 'Invoice', 'Claim', 'Receipt', 'Ticket', 'Permit', 'Patient'])[1 + n * 31 % 8]
           || ' ' || (ARRAY['journey', 'throughput', 'rework', 'cost', 'variant', 'bottleneck'])[1 + n * 17 % 6]
           || CASE WHEN n % 2 = 0 THEN ' analysis ' ELSE ' study ' END
           || CASE WHEN n % ($3::bigint / $4::bigint) = 0 THEN 'quarterly ' ELSE '' END
           || CASE WHEN n % 100 = 50 THEN 'yearly ' ELSE '' END || n AS name
    FROM generate_series(1, $3::bigint) AS n
) AS made
"""
_CONTENTS = r"""
INSERT INTO content (notebook_id, sha256, body)
SELECT notebook_id, sha256(body || '\x00'), body
FROM (SELECT notebook_id, convert_to(
          '{"cells":[{"cell_type":"code","execution_count":null,"id":"cell-001","metadata":{},"outputs":[],"source":"print(\"'
          || name || '\")"}],"metadata":{},"nbformat":4,"nbformat_minor":5}', 'UTF8') AS body
      FROM notebook WHERE project_id = $1) AS made
"""
_VERSIONS = """
INSERT INTO notebook_version (notebook_id, version, ordinal, name, kernel_type, integration, environment, parameters,
                              content_sha256, created_at, created_by)
SELECT n.notebook_id, n.version, 1, n.name, n.kernel_type, json_build_object('enrichmentMode', n.enrichment_mode), '{}',
       '{"type": "object", "properties": {}}', c.sha256, n.created_at, n.created_by
FROM notebook n JOIN content c USING (notebook_id)
WHERE n.project_id = $1
"""
_TALLY = """
INSERT INTO notebook_tally (tenant_id, project_id, kernel_type, enrichment_mode, status, change)
SELECT tenant_id, project_id, kernel_type, enrichment_mode, status, count(*)
FROM notebook WHERE tenant_id = $1
GROUP BY tenant_id, project_id, kernel_type, enrichment_mode, status
"""
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'catalog' AND tablename = 'notebook' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


@dataclass(frozen=True)
class Sizes:
    """How many notebooks each project has; the first project may be larger than the others."""

    notebooks: int
    projects: int
    largest: int

    def of_projects(self) -> list[int]:
        """The sizes; they add up to `notebooks`."""
        if self.projects == 1:
            return [self.notebooks]
        rest, more = divmod(self.notebooks - self.largest, self.projects - 1)
        return [self.largest, *(rest + (number < more) for number in range(self.projects - 1))]


async def fill(dsn: str, sizes: Sizes, *, contents: bool = True) -> float:
    """Make the notebooks; returns the seconds it took. Needs a migrated, empty catalog, and its owner's DSN.

    Without `contents` they can be listed and not read, and are there in half the time.
    """
    began = time.perf_counter()
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "catalog"})
    try:
        indexes = await connection.fetch(_INDEXES)
        await connection.execute(
            "SET session_replication_role = replica"
        )  # no triggers: the tally is made at once below
        await connection.execute("SET maintenance_work_mem = '256MB'; SET synchronous_commit = off")
        for index in indexes:
            await connection.execute(f'DROP INDEX "{index["indexname"]}"')
        for number, size in enumerate(sizes.of_projects(), start=1):
            project = UUID(int=number)
            await connection.execute(_NOTEBOOKS, TENANT, project, size, SPECIAL)
        for index in indexes:
            await connection.execute(index["indexdef"])
        for number in range(1, sizes.projects + 1 if contents else 1):
            await connection.execute(_CONTENTS, UUID(int=number))
            await connection.execute(_VERSIONS, UUID(int=number))
        await connection.execute(_TALLY, TENANT)
        for table in ("notebook", "notebook_version", "content", "notebook_tally"):
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()
    return time.perf_counter() - began


def main(
    dsn: str = typer.Option(..., help="the owner's DSN of a migrated database without notebooks"),
    notebooks: int = typer.Option(1_000_000, help="how many in all"),
    projects: int = typer.Option(200, help="in so many projects"),
    largest: int = typer.Option(100_000, help="so many of them in the first project"),
    contents: bool = typer.Option(True, help="with cells and a version each; without, they can only be listed"),
) -> None:
    """Fill a catalog with notebooks."""
    seconds = asyncio.run(fill(dsn, Sizes(notebooks, projects, largest), contents=contents))
    typer.echo(
        f"{notebooks:,} notebooks in {projects} projects in {seconds:.0f} s; "
        f"tenant {TENANT}, projects from {UUID(int=1)}"
    )


if __name__ == "__main__":
    typer.run(main)
