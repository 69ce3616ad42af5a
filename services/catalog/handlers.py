"""Every command the catalog answers and every fact it hears, with the function that does so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.catalog import changing, creating, deleting, project_templates, projection, projects, reading, versions
from services.catalog.automation import calls, triggers
from services.catalog.files import commands as notebook_files
from shared.contracts import execution_events as facts
from shared.contracts import files, schedules, templates
from shared.contracts import notebooks as commands
from shared.contracts import projects as project_commands
from shared.contracts import versions as history
from shared.contracts.base import Command, Event
from shared.contracts.datasets import DatasetUpdated
from shared.responder import Handler
from shared.subscriber import EventHandler

COMMANDS: Mapping[type[Command[Any]], Handler] = {
    commands.CreateNotebook: creating.create_notebook,
    commands.ImportNotebook: creating.import_notebook,
    commands.CheckDraft: creating.check_draft,
    commands.CheckImport: creating.check_import,
    commands.CheckUpdate: changing.check_update,
    commands.UpdateNotebook: changing.update_notebook,
    commands.AddCell: changing.add_cell,
    commands.UpdateCell: changing.update_cell,
    commands.DeleteCell: changing.delete_cell,
    commands.ReserveDeletion: deleting.reserve_deletion,
    commands.DeleteNotebook: deleting.delete_notebook,
    commands.CheckNotebook: reading.check_notebook,
    commands.CheckDatasetUnbound: reading.check_dataset_unbound,
    commands.GetNotebook: reading.get_notebook,
    commands.ListNotebooks: reading.list_notebooks,
    commands.ExportNotebook: reading.export_notebook,
    commands.PinNotebook: reading.pin_notebook,
    project_commands.CreateProject: projects.create_project,
    project_commands.FindProject: projects.find_project,
    project_commands.ListProjects: projects.list_projects,
    templates.AddTemplate: project_templates.add_template,
    templates.ListTemplates: project_templates.list_templates,
    templates.GetTemplate: project_templates.get_template,
    templates.RemoveTemplate: project_templates.remove_template,
    history.ListVersions: versions.list_versions,
    history.GetVersion: versions.get_version,
    history.DiffVersions: versions.diff_versions,
    history.ShowDiff: versions.show_diff,
    history.RestoreVersion: versions.restore_version,
    history.CopyNotebook: versions.copy_notebook,
    history.GetParameters: reading.get_parameters,
    files.ListFiles: notebook_files.list_files,
    files.FindFile: notebook_files.find_file,
    files.CheckFiles: notebook_files.check_files,
    files.PutFiles: notebook_files.put_files,
    files.DeleteFile: notebook_files.delete_file,
    files.FindUsedContents: notebook_files.find_used_contents,
    schedules.GetSchedule: calls.get_schedule,
    schedules.PauseSchedule: calls.pause_schedule,
    schedules.ResumeSchedule: calls.resume_schedule,
    schedules.RunSchedule: calls.run_schedule,
    schedules.ListFires: calls.list_fires,
}

EVENTS: Mapping[type[Event], EventHandler] = {
    facts.ExecutionQueued: projection.on_execution_queued,
    facts.ExecutionStarted: projection.on_execution_started,
    facts.ExecutionCompleted: projection.on_execution_ended,
    facts.ExecutionFailed: projection.on_execution_ended,
    facts.ExecutionCancelled: projection.on_execution_ended,
    facts.ExecutionPurged: projection.on_execution_purged,
    facts.NotebookBlocked: deleting.on_notebook_blocked,
    DatasetUpdated: triggers.on_dataset_updated,
}
