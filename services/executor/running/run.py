"""One run from claim to end: folder, kernel, cells, artifacts, terminal commit. Every write is fenced by its epoch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import orjson
import structlog
from prometheus_client import Histogram

from services.executor import ending, model, requeueing, wording
from services.executor.collecting.artifact_writer import RunIdentity
from services.executor.collecting.collector import Collector
from services.executor.ending import Ending, Fenced
from services.executor.environments.preparing import Prepared
from services.executor.environments.rules import EnvironmentBuildError
from services.executor.kernels.port import Kernel, KernelRequest, KernelStartError
from services.executor.model import Verdict
from services.executor.running import folder, incidents, result_variable, work_files
from services.executor.running.cells import NotebookCells
from services.executor.running.chronicle import Chronicle
from services.executor.running.claim import Claim, Means
from services.executor.running.draft import Draft
from services.executor.running.guard import Guard
from services.executor.running.halting import OutOfTime, Stopped, unless_stopped
from services.executor.running.patience import RETRY_S, GaveUpOnStore, patiently
from services.executor.running.progress import ProgressWriter
from services.executor.store import queries
from shared import telemetry
from shared.contracts.base import Caller
from shared.contracts.executions import CellResult, OutputCounts, Resources
from shared.contracts.libraries import PinLibraries, PinnedLibraries
from shared.contracts.retries import RetryCause
from shared.errors import AtelierError, NotFound, OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

CPU_S = Histogram("atelier_kernel_cpu_seconds", "Processor time of a run's kernel, start included", ["kernel"],
                  buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 3600))  # fmt: skip

CANCELLED_GRACE_S = 0.5
"""How long the kernel of a cancelled run may take to end by itself, in seconds."""

CANCELLED_SEAL_S = 1.0
"""How long a cancelled run may go on storing results, in seconds. What a store that is down has not taken by then is
lost: whoever cancels a run wants its end."""


class Run:
    """See the module. `cancel` stops it for the user, `lost` because it is no longer ours, `handover` for a drain."""

    def __init__(self, claim: Claim, means: Means, run_dir: Path) -> None:
        self.claim = claim
        self.cancel = asyncio.Event()
        self.lost = asyncio.Event()
        self.handover = asyncio.Event()
        self._stop = asyncio.Event()
        self._warnings: list[str] = []
        self._means = means
        self._new_dir = run_dir
        self._dir: Path | None = None
        self._notebook = nbformat.from_dict(claim.notebook.content)
        self._writer = ProgressWriter(means.database, claim.row)
        self._chronicle = Chronicle(claim, self._writer)
        self._options = claim.request.output_options
        self.draft = Draft(claim, means.database, self._notebook)
        self._environment: Prepared | None = None
        self._csv_columns: list[dict[str, Any]] | None = None
        self._kernel: Kernel | None = None
        self._kind: str = claim.notebook.kernel_type
        self._cells: NotebookCells | None = None
        self._collector: Collector | None = None
        self._registering: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._guard: Guard | None = None
        self._resources = Resources()
        self._deadline = time.monotonic() + claim.request.timeout

    async def execute(self) -> None:
        """Run to the end; returns when the end is committed, handed over, or taken away."""
        self._writer.start()
        watching = asyncio.create_task(self._watch())
        try:
            with telemetry.span("run notebook", traceparent=self.claim.row["traceparent"], execution_id=self.claim.id):
                verdict = await self._verdict_or_incident()
                if self._writer.failure is not None:
                    raise self._writer.failure
                if self.lost.is_set():
                    log.warning("run given up: it is no longer this worker's")
                elif self.handover.is_set() and not self.cancel.is_set():
                    await self._close_kernel()
                    await self._hand_over()
                else:
                    await self._finish(verdict)
        except Fenced:
            if self._writer.failure is not None:
                raise self._writer.failure from None
            log.warning("run given up: it has been taken over")
        finally:
            if self._closing is None:
                await self._close_kernel()
            else:
                await asyncio.wait({self._closing})
            if self._environment is not None:
                self._environment.close()
            if self._cells is not None:
                self._cells.close()
            if self._registering is not None:
                self._registering.cancel()
                await asyncio.gather(self._registering, return_exceptions=True)
            await self.draft.close()
            watching.cancel()
            await self._writer.stop()
            if self._collector is not None:
                self._collector.close()
            if self._dir is not None:
                await asyncio.to_thread(folder.remove, self._dir)

    async def _watch(self) -> None:
        """Any reason to stop sets one event, which is what the cells look at."""
        reasons = [
            asyncio.create_task(event.wait()) for event in (self.cancel, self.lost, self.handover, self._writer.lost)
        ]
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            if self._writer.lost.is_set():
                self.lost.set()
            self._stop.set()
        finally:
            for reason in reasons:
                reason.cancel()

    async def _verdict_or_incident(self) -> Verdict:
        """The verdict; where our own code fails, that is the verdict, and what the cells made is kept all the same."""
        try:
            return await self._verdict()
        except Fenced:
            raise
        except Exception as error:
            return incidents.verdict_of(error, doing="running this notebook's cells")

    async def _verdict(self) -> Verdict:
        """Prepare, start the kernel, run the cells."""
        try:
            began = time.monotonic()
            self._environment = environment = await self._prepare_environment()
            dataset_files = await self._fetch_dataset()
            contents = await self._fetch_files()
            self._chronicle.environment_ready(environment.environment_id, round(time.monotonic() - began, 3))
            self._kernel = kernel = await self._start_kernel(environment)
        except Stopped:
            return model.CANCELLED
        except OutOfTime:
            limit = self.claim.request.timeout
            message = f"the run's time limit of {limit} seconds was reached before its first cell"
            return _failed("TimeoutError", message, cause="timeout")
        except EnvironmentBuildError as error:
            return _failed("EnvironmentBuildError", str(error))
        except KernelStartError as error:
            return _failed("DeadKernelError", f"The kernel did not start: {error}", cause="dead_kernel")
        except NotFound as error:
            return _failed("ArtifactStoreError", f"What the run reads could not be fetched: {error.detail}")
        except GaveUpOnStore as error:
            return _failed("ArtifactStoreError", str(error))
        self._dir = kernel.run_dir
        try:
            await asyncio.to_thread(folder.fill, self._dir, self._description(), dataset_files)
            laid = await asyncio.to_thread(work_files.lay, self._dir / "work", self.claim.notebook.files, contents)
        except OSError as error:
            return incidents.verdict_of(error, doing="filling the run's folder")
        self._chronicle.enter("ExecutingCells", state="Running")
        collector = self._collector = self._new_collector(self._dir, laid)
        guard = self._guard = Guard(self._dir, kernel.meter, self._means.allowance)
        if laid:
            await guard.look()  # what lies there already is not what the first cell writes
        guard.start()
        cells = self._cells = NotebookCells(
            self.claim,
            self._notebook,
            kernel,
            self._chronicle,
            stop=self._stop,
            deadline=self._deadline,
            guard=guard,
            on_cell=self._collect_from,
            on_replayed=collector.pass_over,
        )
        self.draft.catch_up = cells.catch_up
        verdict = await cells.run()
        if verdict.state == "Completed" and self.claim.notebook.integration.enrichment_mode:
            await self._take_named_result(collector, kernel, cells)
        return verdict

    async def _take_named_result(self, collector: Collector, kernel: Kernel, cells: NotebookCells) -> None:
        """With `enrichmentMode`, a table that was only named as the result is saved, too."""
        wanted = self.claim.notebook.kernel_type == result_variable.LANGUAGE and not kernel.exited.done()
        if wanted and not collector.has_dataset:
            fault = await cells.save_named_result()
            if fault is not None:
                self._warnings.append(fault)
        if not await collector.note_result() and not self._stop.is_set():
            self._warnings.append("enrichmentMode is on, but the run saved no enriched dataset.")

    async def _prepare_environment(self) -> Prepared:
        """What the notebook asks for; raises Stopped or OutOfTime when the run came to its end first."""
        with telemetry.span("prepare environment"):
            preparing = patiently(self._find_environment, lost=self.lost)
            return await unless_stopped(preparing, self._stop, deadline=self._deadline)

    async def _find_environment(self) -> Prepared:
        wanted, pinned = self.claim.notebook.environment, PinnedLibraries(libraries=[])
        if wanted.custom_libraries:
            caller = Caller(subject=self.claim.row["created_by"])
            ask = PinLibraries(scope=self.claim.scope, caller=caller, library_names=wanted.custom_libraries)
            pinned = await self._means.requests.ask(ask)
        return await self._means.environments.prepare(wanted, self.claim.notebook.kernel_type, pinned.libraries)

    async def _fetch_dataset(self) -> list[Path]:
        """The bound dataset in each form that the kernel needs."""
        if self.claim.dataset is None:
            return []
        fetching = patiently(self._find_dataset, lost=self.lost)
        return await unless_stopped(fetching, self._stop, deadline=self._deadline)

    async def _find_dataset(self) -> list[Path]:
        assert self.claim.dataset is not None  # noqa: S101 - asked before
        files = [await self._means.datasets.file(self.claim.dataset)]
        if self.claim.notebook.kernel_type == "r":
            csv, self._csv_columns = await self._means.datasets.csv(self.claim.dataset)
            files.append(csv)
        return files

    async def _fetch_files(self) -> Mapping[str, Path]:
        """Where the contents of the files beside the notebook lie, by hash."""
        if not self.claim.notebook.files:
            return {}
        fetching = patiently(self._find_files, lost=self.lost)
        return await unless_stopped(fetching, self._stop, deadline=self._deadline)

    async def _find_files(self) -> Mapping[str, Path]:
        caller, notebook = Caller(subject=self.claim.row["created_by"]), self.claim.notebook
        return await self._means.files.contents(self.claim.scope, caller, notebook.notebook_id, notebook.files)

    def _description(self) -> dict[str, Any]:
        return folder.describe(
            self.claim.id,
            self.claim.scope.project_id,
            self.claim.notebook,
            self.claim.dataset,
            self.claim.parameters,
            self._csv_columns,
        )

    async def _start_kernel(self, environment: Prepared) -> Kernel:
        """A ready kernel; raises Stopped or OutOfTime when the run came to its end first."""
        request = KernelRequest(
            kernel_type=self.claim.notebook.kernel_type,
            run_dir=self._new_dir,
            python=environment.python if environment.source == "built" else None,
            readable=environment.readable,
        )
        self._kind = request.kind
        with telemetry.span("start kernel", kernel=request.kernel_type):
            return await unless_stopped(self._means.kernels.acquire(request), self._stop, deadline=self._deadline)

    async def _collect_from(self, index: int) -> None:
        """Note what a cell produced; register it right away where the request asks to see results while running."""
        assert self._collector is not None  # noqa: S101 - made before the first cell
        found = await self._collector.note_cell(index)
        if (
            found
            and self._options.save_intermediate_results
            and (self._registering is None or self._registering.done())
        ):
            self._registering = asyncio.create_task(self._register_so_far(self._collector))

    async def _register_so_far(self, collector: Collector) -> None:
        try:
            await collector.register(final=False)
        except AtelierError as error:
            log.warning("intermediate results wait for the end of the run", reason=error.detail)
        else:
            self._chronicle.results_registered(collector.registered)

    async def _finish(self, verdict: Verdict) -> None:
        """End the kernel, seal the manifest, then commit the end."""
        self._chronicle.enter("CollectingResults", state="Collecting")
        changed = self._chronicle.tally.leave_rest(
            "Cancelled" if verdict.state == "Cancelled" else "Skipped", verdict.skip_reason
        )
        epoch, enough = None, asyncio.Event()
        waiting = asyncio.create_task(self._lose_patience(enough))
        try:
            await self._shut_down()
            if self._cells is not None:
                changed += self._cells.finish(verdict)
            epoch = await unless_stopped(self._seal(kept=self._retry_wait_s(verdict) is not None), enough)
        except GaveUpOnStore as error:
            if verdict.state == "Completed":
                verdict = _failed("ArtifactStoreError", str(error))
        except Stopped:
            self._warnings.append("The run was cancelled while its results were being stored; some are missing.")
        except Fenced:
            raise
        except Exception as error:
            failed = incidents.verdict_of(error, doing="storing the run's results")
            verdict = failed if verdict.state == "Completed" else verdict
        finally:
            waiting.cancel()
        await self._kernel_closed()  # only now it is known what the run has used
        if self.cancel.is_set():
            verdict = model.CANCELLED
        await self._commit_end(verdict, changed, epoch)

    async def _shut_down(self) -> None:
        """Have the kernel end by itself, within limits; whatever is left of it is killed."""
        if self._kernel is not None and self._cells is not None:
            grace = CANCELLED_GRACE_S if self.cancel.is_set() else self._means.shutdown_grace_s
            await self._cells.shut_down(grace)
        ended = self._kernel is None or self._kernel.exited.done()
        self._closing = asyncio.create_task(self._close_kernel())
        if not ended:
            await self._kernel_closed()

    async def _lose_patience(self, enough: asyncio.Event) -> None:
        """Set `enough` when a cancelled run has had its time to store results."""
        await self.cancel.wait()
        await asyncio.sleep(CANCELLED_SEAL_S)
        enough.set()

    async def _seal(self, *, kept: bool) -> int | None:
        if self._registering is not None:
            await asyncio.gather(self._registering, return_exceptions=True)
        collector = self._collector
        if collector is None:
            return None
        await collector.note_result()
        collector.begin_last()
        has_files = collector.has_files
        if has_files:
            await self._kernel_closed()  # what it has started may still write
        with telemetry.span("collect results"):
            if has_files:
                await patiently(collector.add_files, lost=self.lost)
            await patiently(collector.add_notebook, lost=self.lost)
            if self._options.generate_report:
                await patiently(collector.add_report, lost=self.lost)
            await patiently(lambda: collector.register(final=True, kept=kept), lost=self.lost)
        return self.claim.epoch

    async def _commit_end(self, verdict: Verdict, changed: list[CellResult], epoch: int | None) -> None:
        collector, tally = self._collector, self._chronicle.tally
        end = Ending(
            verdict=verdict,
            changed_cells=changed,
            all_cells=tally.results,
            progress=tally.progress(completed=verdict.state == "Completed"),
            outputs=collector.counts.answer() if collector else OutputCounts(),
            resources=self._resources,
            manifest_epoch=epoch,
            warnings=[
                *orjson.loads(self.claim.row["warnings"]),
                *(collector.warnings if collector else []),
                *self._warnings,
            ],
        )
        while True:
            await self._writer.drain()
            try:
                if await self._retried(verdict, epoch):
                    return
                async with self._means.database.transaction() as transaction:
                    await ending.end(transaction, self.claim.row, self._writer.sequence, end)
            except (Unavailable, OutcomeUnknown) as error:
                # If the commit went through after all, the next attempt is refused by the fence.
                log.warning("the run's end waits for the database", reason=error.detail)
                await asyncio.sleep(RETRY_S)
            else:
                log.info("run ended", state=verdict.state, error_type=verdict.error_type)
                return

    def _retry_wait_s(self, verdict: Verdict) -> float | None:
        """How long the run waits for another attempt, in seconds; None when this one is its last."""
        return model.retry_wait_s(self.claim.request.retry, verdict, self.claim.row["retries"])

    async def _retried(self, verdict: Verdict, epoch: int | None) -> bool:
        """Put the run back for another attempt if its policy says so; returns whether it did. A run that is to be
        cancelled, or is no longer ours, stays as it is."""
        wait_s = self._retry_wait_s(verdict)
        if wait_s is None:
            return False
        async with self._means.database.transaction() as transaction:
            row, sequence = self.claim.row, self._writer.sequence
            done = await requeueing.retry(transaction, row, sequence, verdict, wait_s, manifest_epoch=epoch)
        if done:
            log.info("attempt failed, another follows", error_type=verdict.error_type, wait_s=wait_s)
        return done

    async def _hand_over(self) -> None:
        """A drain: give the run back to the queue; it counts no attempt."""
        await self._writer.drain()
        async with self._means.database.transaction() as transaction:
            row = await transaction.row(queries.find_claimed, self.claim.id, self.claim.epoch)
            if row is None:
                raise Fenced("The run has been taken over or has ended.")
            await requeueing.hand_over(transaction, row)
        log.info("run handed over")

    async def _close_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is None:
            return
        used = 0
        if self._guard is not None:
            await self._guard.stop()
            used = self._guard.most_disk_bytes
        await kernel.close()
        usage = kernel.usage()
        memory, cpu = (usage.peak_memory_bytes, usage.cpu_seconds) if usage else (None, None)
        if cpu is not None:
            CPU_S.labels(kernel=self._kind).observe(cpu)
        self._resources = Resources(
            peak_memory_usage=wording.size(memory),
            peak_memory_usage_bytes=memory,
            cpu_time=wording.duration(cpu),
            cpu_time_seconds=cpu,
            disk_usage=wording.size(used),
            disk_usage_bytes=used,
            method=usage.method if usage else None,
        )

    async def _kernel_closed(self) -> None:
        """Results without files are stored while what is left of the kernel goes, which takes as long."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _new_collector(self, run_dir: Path, laid: Mapping[str, work_files.Laid]) -> Collector:
        identity = RunIdentity(
            scope=self.claim.scope,
            caller=Caller(subject=self.claim.row["created_by"]),
            execution_id=self.claim.id,
            notebook_id=self.claim.row["notebook_id"],
            epoch=self.claim.epoch,
            output_format=self.claim.notebook.integration.output_format,
            notebook_name=self.claim.notebook.notebook_name,
            enrichment_mode=self.claim.notebook.integration.enrichment_mode,
            dataset=self.claim.dataset.dataset if self.claim.dataset else None,
        )
        return Collector(
            identity,
            run_dir,
            self._notebook,
            objects=self._means.objects,
            requests=self._means.requests,
            max_bytes=self._means.allowance.disk_bytes,
            laid=laid,
        )


def _failed(error_type: str, message: str, *, cause: RetryCause = "error") -> Verdict:
    return Verdict(state="Error", error_type=error_type, error_message=message, cause=cause)
