"""What executor control answers and hears: one function a command or fact, all in these registries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.executor.handlers import draft, history, reading, retention, start, stopping, tracing, values
from shared.contracts import executions as commands
from shared.contracts.base import Command, Event
from shared.contracts.comparisons import GetExecutionInputs
from shared.contracts.history import GetRunHistory
from shared.contracts.lineage import TraceDataset, TraceExecution
from shared.contracts.notebooks import NotebookDeleted
from shared.contracts.storage import GetRetention, SetRetention
from shared.responder import Handler
from shared.subscriber import EventHandler

COMMANDS: Mapping[type[Command[Any]], Handler] = {
    commands.StartExecution: start.start_execution,
    commands.CheckExecution: start.check_execution,
    commands.RerunExecution: start.rerun_execution,
    commands.CheckRerun: start.check_rerun,
    commands.GetExecution: reading.get_execution,
    commands.GetLatestExecution: reading.get_latest_execution,
    commands.ListExecutions: reading.list_executions,
    commands.GetQuota: reading.get_quota,
    commands.GetExecutionNotebook: draft.get_execution_notebook,
    GetRunHistory: history.get_run_history,
    commands.GetBasePython: reading.get_base_python,
    commands.GetNotebookActivity: reading.get_notebook_activity,
    commands.ListExecutionEvents: reading.list_execution_events,
    commands.GetExecutionEnvironment: reading.get_execution_environment,
    GetExecutionInputs: reading.get_execution_inputs,
    TraceExecution: tracing.trace_execution,
    TraceDataset: tracing.trace_dataset,
    commands.LocateResults: reading.locate_results,
    commands.LocateValue: values.locate_value,
    commands.CancelExecution: stopping.cancel_execution,
    commands.BlockNotebook: stopping.block_notebook,
    commands.PurgeExecution: stopping.purge_execution,
    GetRetention: retention.get_retention,
    SetRetention: retention.set_retention,
}

EVENTS: Mapping[type[Event], EventHandler] = {NotebookDeleted: stopping.on_notebook_deleted}
