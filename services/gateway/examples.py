"""An example for every call: what goes in and what comes out. Tests hold each against its model."""

from __future__ import annotations

from typing import Any

TENANT = "550e8400-e29b-41d4-a716-446655440000"
PROJECT = "660e8400-e29b-41d4-a716-446655440000"
NOTEBOOK_ID = "aa0e8400-e29b-41d4-a716-446655440000"
EXECUTION_ID = "bb0e8400-e29b-41d4-a716-446655440000"
DATASET_ID = "880e8400-e29b-41d4-a716-446655440000"
UPLOAD_ID = "990e8400-e29b-41d4-a716-446655440000"
ARTIFACT_ID = "cc0e8400-e29b-41d4-a716-446655440000"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
BASE = "https://atelier.example"

Json = dict[str, Any]

INTEGRATION: Json = {
    "enrichmentMode": True,
    "datasetBinding": DATASET_ID,
    "outputFormat": "enriched_dataframe",
    "autoExecution": False,
}
ENVIRONMENT: Json = {
    "packages": ["pandas", "numpy", "scikit-learn", "matplotlib"],
    "customLibraries": ["process_mining_utils"],
}
CELL_DRAFT: Json = {
    "cellType": "code",
    "content": "from mindzie_sdk import ProcessMiningClient\nclient = ProcessMiningClient()",
}
DRAFT: Json = {
    "notebookName": "Advanced Customer Analytics",
    "notebookDescription": "Machine learning models for customer behavior prediction",
    "kernelType": "python3",
    "template": "process_mining_starter",
    "integration": INTEGRATION,
    "environment": ENVIRONMENT,
    "initialCells": [{"cellType": "markdown", "content": "# Customer Analytics Notebook"}, CELL_DRAFT],
}
PATCH: Json = {
    "notebookName": "Advanced Customer Analytics v2",
    "integration": {"outputFormat": "csv"},
    "environment": {"packages": ["pandas", "numpy"]},
}
CELL_PATCH: Json = {"content": "print('hello')", "tags": ["parameters"]}
UPLOAD: Json = {"notebookName": "Customer Journey Analysis", "enrichmentMode": True, "datasetBinding": DATASET_ID}

CELL: Json = {
    "cellId": "cell-001",
    "cellType": "code",
    "content": CELL_DRAFT["content"],
    "tags": [],
    "metadata": {},
    "executionCount": 15,
    "hasOutput": True,
    "lastExecuted": "2024-01-20T10:30:00.000Z",
    "executionStatus": "Success",
    "lastModified": "2024-01-19T14:20:00.000Z",
}
NOTEBOOK: Json = {
    "notebookId": NOTEBOOK_ID,
    "projectId": PROJECT,
    "notebookName": "Process Mining Analysis",
    "notebookDescription": "Custom analysis for customer journey optimization",
    "notebookVersion": "1.3.2",
    "kernelType": "python3",
    "status": "Ready",
    "integration": {
        **INTEGRATION,
        "runAfter": [],
        "errorPolicy": None,
        "retry": None,
        "scheduleExecution": None,
        "scheduleTimeZone": None,
        "scheduleOverlap": None,
        "scheduleMisfire": None,
        "scheduleJitter": None,
        "scheduleParameters": None,
    },
    "cells": [CELL],
    "environment": {**ENVIRONMENT, "pythonVersion": None},
    "parameters": {"type": "object", "properties": {}},
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "dateModified": "2024-01-20T10:30:00.000Z",
    "createdBy": "user123",
    "lastExecutionDate": "2024-01-20T10:30:00.000Z",
    "executionCount": 47,
    "etag": "1.3.2-5f3a",
    "session": None,
    "parsing": None,
}
CREATED_NOTEBOOK: Json = {
    **NOTEBOOK,
    "notebookVersion": "1.0.0",
    "lastExecutionDate": None,
    "executionCount": 0,
    "session": {
        "sessionId": "dd0e8400-e29b-41d4-a716-446655440000",
        "kernelType": "python3",
        "state": "NotStarted",
    },
}
UPLOADED_NOTEBOOK: Json = {
    **CREATED_NOTEBOOK,
    "parsing": {
        "nbformat": "4.5",
        "cellCount": 1,
        "codeCells": 1,
        "markdownCells": 0,
        "rawCells": 0,
        "warnings": ["Cell 1 had no id and was given cell-001."],
    },
}
TRIGGER: Json = {
    "kind": "api",
    "fireId": None,
    "fireTime": None,
    "manual": False,
    "datasetId": None,
    "datasetVersion": None,
    "executions": None,
}
FIRE: Json = {
    "fireId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "kind": "schedule",
    "fireTime": "2024-01-20T01:00:00.000Z",
    "dueTime": "2024-01-20T01:00:00.000Z",
    "state": "Started",
    "reason": None,
    "trigger": {
        **TRIGGER,
        "kind": "schedule",
        "fireId": EXECUTION_ID,
        "fireTime": "2024-01-20T01:00:00.000Z",
    },
    "executionId": EXECUTION_ID,
    "decidedAt": "2024-01-20T01:00:00.420Z",
}
SCHEDULE: Json = {
    "notebookId": NOTEBOOK_ID,
    "state": "Active",
    "scheduleExecution": "0 2 * * *",
    "scheduleTimeZone": "Europe/Amsterdam",
    "scheduleOverlap": "skip",
    "scheduleMisfire": "fire_once",
    "scheduleJitter": 0,
    "scheduleParameters": {"analysis_period": 30},
    "pausedAt": None,
    "pausedBy": None,
    "nextTimes": [f"2024-01-{day}T01:00:00.000Z" for day in range(21, 31)],
    "lastFires": [FIRE],
    "autoExecution": False,
    "runAfter": [
        {
            "notebookId": "ab0e8400-e29b-41d4-a716-446655440000",
            "notebookName": "Clean the log",
            "completed": True,
            "deleted": False,
        }
    ],
}
SKIPPED_FIRE: Json = {
    **FIRE,
    "state": "Skipped",
    "reason": f"the execution {EXECUTION_ID} had not ended (scheduleOverlap: skip)",
    "executionId": None,
}
MANUAL_FIRE: Json = {
    **FIRE,
    "kind": "manual",
    "trigger": {**FIRE["trigger"], "manual": True},
}
PAGE: Json = {"totalCount": 1, "page": 1, "pageSize": 20, "hasNextPage": False, "nextCursor": None}
FIRE_PAGE: Json = {"fires": [SKIPPED_FIRE], **PAGE}
NOTEBOOK_PAGE: Json = {
    "notebooks": [
        {
            "notebookId": NOTEBOOK_ID,
            "notebookName": "Process Mining Analysis",
            "kernelType": "python3",
            "status": "Ready",
            "enrichmentMode": True,
            "cellCount": 12,
            "lastExecutionDate": "2024-01-20T10:30:00.000Z",
            "dateCreated": "2024-01-15T10:30:00.000Z",
            "dateModified": "2024-01-20T10:30:00.000Z",
        }
    ],
    **PAGE,
}
ROWS = "case_id,activity,time\n1,Register,2024-01-15T10:30:00Z\n"
IPYNB: Json = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {
            "id": "cell-001",
            "cell_type": "code",
            "source": "print('hello')",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
    ],
}

BLOCK: Json = {**CELL, "blockId": "cell-001"}
BLOCKS: Json = {"blocks": [BLOCK], "totalCount": 1}
ADDRESS: Json = {"url": f"{BASE}/api/{TENANT}/{PROJECT}/notebook/{NOTEBOOK_ID}"}

PARAMETERS: Json = {"dataset_id": DATASET_ID, "analysis_period": "2024-01", "include_weekends": False}
EXECUTION_REQUEST: Json = {
    "executionMode": "all",
    "parameters": PARAMETERS,
    "outputOptions": {"captureOutputs": True, "saveIntermediateResults": True, "generateReport": True},
    "timeout": 1800,
    "priority": "Normal",
    "retry": {"limit": 2, "on": ["timeout", "dead_kernel"], "backoffSeconds": 30},
}
RUNNING: Json = {
    "status": "Running",
    "phase": "ExecutingCells",
    "endTime": None,
    "currentCell": "cell-003",
    "progress": {
        "totalCells": 12,
        "completedCells": 2,
        "successfulCells": 2,
        "failedCells": 0,
        "currentCellIndex": 3,
        "percentComplete": 17,
    },
}
EXECUTION: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "notebookVersion": "1.3.2",
    "status": "Completed",
    "phase": None,
    "startTime": "2024-01-20T10:30:00.000Z",
    "endTime": "2024-01-20T10:47:00.000Z",
    "estimatedDuration": "15-20 minutes",
    "estimatedDurationSeconds": 1050.0,
    "totalDuration": "17 minutes",
    "totalDurationSeconds": 1020.0,
    "queuedSeconds": 0.1,
    "queuePosition": None,
    "queueReason": None,
    "currentCell": None,
    "progress": {
        "totalCells": 12,
        "completedCells": 12,
        "successfulCells": 11,
        "failedCells": 1,
        "currentCellIndex": None,
        "percentComplete": 100,
    },
    "parameters": PARAMETERS,
    "warnings": [],
    "cellResults": [
        {
            "cellId": "cell-003",
            "status": "Error",
            "executionTime": "1.1 seconds",
            "executionTimeSeconds": 1.1,
            "executionCount": 3,
            "hasOutput": True,
            "outputType": "error",
            "startTime": "2024-01-20T10:30:04.000Z",
            "endTime": "2024-01-20T10:30:05.100Z",
            "errorType": "KeyError",
            "errorMessage": "'customer_id' column not found in dataset",
            "traceback": None,
            "resources": {
                "peakMemoryUsage": "182.4 MB",
                "peakMemoryUsageBytes": 182_400_000,
                "cpuTime": "1 seconds",
                "cpuTimeSeconds": 1.02,
                "diskUsage": "0 bytes",
                "diskUsageBytes": 0,
                "method": "cgroup",
            },
            "skipReason": None,
        }
    ],
    "outputs": {
        "dataFrames": 3,
        "plots": 5,
        "models": 2,
        "reports": 1,
        "enrichedData": {"recordCount": 15420, "newColumns": ["customer_segment", "journey_score", "anomaly_flag"]},
    },
    "resources": {
        "peakMemoryUsage": "2.3 GB",
        "peakMemoryUsageBytes": 2_300_000_000,
        "cpuTime": "8.5 minutes",
        "cpuTimeSeconds": 510.0,
        "diskUsage": "450 MB",
        "diskUsageBytes": 450_000_000,
        "method": "cgroup",
    },
    "errorType": None,
    "errorMessage": None,
    "failedCell": None,
    "executionMode": "all",
    "priority": "Normal",
    "timeout": 1800,
    "createdBy": "user123",
    "trigger": TRIGGER,
    "datasetId": DATASET_ID,
    "datasetVersion": 1,
    "rerunOf": None,
    "fromCell": None,
    "attempt": 2,
    "attempts": [
        {
            "attempt": 1,
            "startedAt": "2024-01-20T10:30:00.100Z",
            "endedAt": "2024-01-20T10:31:12.000Z",
            "status": "Error",
            "errorType": "DeadKernelError",
            "errorMessage": "memory limit of 2.0 GB reached in cell-007",
            "failedCell": "cell-007",
        },
        {
            "attempt": 2,
            "startedAt": "2024-01-20T10:31:42.000Z",
            "endedAt": "2024-01-20T10:47:00.000Z",
            "status": "Completed",
            "errorType": None,
            "errorMessage": None,
            "failedCell": None,
        },
    ],
    "retry": {"limit": 2, "on": ["timeout", "dead_kernel"], "backoffSeconds": 30, "exponential": False},
}
STARTED_EXECUTION: Json = {**EXECUTION, **RUNNING}
RERUN_REQUEST: Json = {"fromCell": "cell-003", "parameters": {"analysis_period": "2024-02"}}
RERUN: Json = {
    **EXECUTION,
    "executionId": "ff0e8400-e29b-41d4-a716-446655440000",
    "status": "Running",
    "phase": "Queued",
    "endTime": None,
    "totalDuration": "unknown",
    "totalDurationSeconds": None,
    "queuePosition": 1,
    "queueReason": "waiting for a free worker slot",
    "progress": {
        "totalCells": 10,
        "completedCells": 0,
        "successfulCells": 0,
        "failedCells": 0,
        "currentCellIndex": None,
        "percentComplete": 0,
    },
    "parameters": {**PARAMETERS, "analysis_period": "2024-02"},
    "warnings": ["2 cells before cell-003 replayed to prepare: not counted, and without a place among the results."],
    "cellResults": [],
    "rerunOf": EXECUTION_ID,
    "fromCell": "cell-003",
}
NOTEBOOK_VALUE: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "notebookVersion": "1.3.2",
    "dateEnded": "2024-01-20T10:47:00.000Z",
    "values": {"avg_cycle_time_hours": 4.2, "bottlenecks": ["Approve", "Ship"]},
    "largeValues": {},
    "parameters": PARAMETERS,
}
EXECUTION_PAGE: Json = {"executions": [EXECUTION], **PAGE}
EXECUTION_ENVIRONMENT: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "environmentId": SHA256[:32],
    "source": "built",
    "pythonVersion": "3.11.2",
    "preparationSeconds": 0.021,
    "packages": [{"name": "inflection", "version": "0.5.1"}, {"name": "pandas", "version": "3.1.1"}],
    "lock": f"inflection==0.5.1 \\\n    --hash=sha256:{SHA256}\npandas==3.1.1\n",
}
EVENT_STREAM = (
    "id: 1\nevent: execution.queued\n"
    'data: {"specversion":"1.0","type":"execution.queued","sequence":1,"data":{"totalCells":12}}\n\n'
)

_LINK = f"{BASE}/downloads/eyJ0IjoiNTUwZSJ9.c2ln"
STORED: Json = {"artifactId": ARTIFACT_ID, "sizeBytes": 5120, "sha256": SHA256}
RESULTS: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "status": "Completed",
    "outputs": [
        {
            **STORED,
            "cellId": "cell-008",
            "outputType": "application/json",
            "contentType": "application/json",
            "title": "Process Mining Metrics",
            "content": {"avgCycleTime": "4.2 hours", "processEfficiency": 78.5},
            "contentTruncated": False,
            "dimensions": None,
            "downloadUrl": f"{_LINK}/cell-008.json",
        }
    ],
    "enrichedDatasets": [
        {
            "name": "customer_journey_enhanced",
            "recordCount": 15420,
            "columns": ["case_id", "activity", "timestamp", "customer_segment"],
            "newColumns": ["customer_segment"],
            "recordsBefore": 15420,
            "rowsLost": 0,
            "rowsAdded": 0,
            "lostColumns": [],
            "changedColumns": [{"name": "activity", "change": "values", "valuesChanged": 12}],
            "rowsAligned": True,
            "rowsChanged": 12,
            "valuesChanged": 12,
            "artifactIds": {"csv": ARTIFACT_ID, "parquet": "cd0e8400-e29b-41d4-a716-446655440000"},
            "format": "pandas_dataframe",
            "sizeBytes": 5120,
            "cellId": "cell-009",
            "downloadUrl": f"{_LINK}/customer_journey_enhanced.csv",
            "downloadUrls": {
                "csv": f"{_LINK}/customer_journey_enhanced.csv",
                "parquet": f"{_LINK}/customer_journey_enhanced.parquet",
            },
        }
    ],
    "models": [
        {
            **STORED,
            "name": "customer_churn_predictor",
            "format": "pickle",
            "modelType": "RandomForestClassifier",
            "framework": "scikit-learn",
            "accuracy": 0.87,
            "metrics": {"accuracy": 0.87},
            "features": ["journey_score", "cycle_time", "touchpoint_count"],
            "cellId": "cell-010",
            "downloadUrl": f"{_LINK}/customer_churn_predictor.pkl",
        }
    ],
    "reports": [
        {
            **STORED,
            "name": "Customer Analytics Summary",
            "format": "html",
            "cellId": "cell-011",
            "downloadUrl": f"{_LINK}/customer_analytics_summary.html",
        }
    ],
    "files": [
        {
            **STORED,
            "name": "notes/segments.txt",
            "contentType": "text/plain",
            "downloadUrl": f"{_LINK}/segments.txt",
        }
    ],
}

DATASET_UPLOAD: Json = {"datasetName": "Receipts", "caseIdColumn": "case:concept:name"}
_DATASET_SOURCE: Json = {
    "fileName": "receipt.csv",
    "format": "csv",
    "gzip": False,
    "sizeBytes": 1_914_060,
    "sha256": SHA256,
    "encoding": "utf-8",
    "delimiter": ",",
    "decimal": ".",
    "timeFormats": {"time:timestamp": "ISO 8601"},
}
DATASET_REPLACEMENT: Json = {"etag": "1-9f86d081884c7d65"}
DATASET: Json = {
    "datasetId": DATASET_ID,
    "projectId": PROJECT,
    "datasetName": "Receipts",
    "version": 1,
    "recordCount": 8577,
    "caseCount": 1434,
    "columns": [{"name": "case:concept:name", "type": "string"}, {"name": "time:timestamp", "type": "timestamp"}],
    "caseIdColumn": "case:concept:name",
    "activityColumn": "concept:name",
    "timeColumn": "time:timestamp",
    "sizeBytes": 91_234,
    "sha256": SHA256,
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "dateModified": "2024-01-15T10:30:00.000Z",
    "createdBy": "user123",
    "etag": "1-9f86d081884c7d65",
    "source": _DATASET_SOURCE,
    "profile": {"state": "Ready"},
}
DATASET_VERSION_PAGE: Json = {
    "items": [
        {
            "version": 1,
            "recordCount": 8577,
            "caseCount": 1434,
            "columns": DATASET["columns"],
            "caseIdColumn": "case:concept:name",
            "activityColumn": "concept:name",
            "timeColumn": "time:timestamp",
            "sizeBytes": 91_234,
            "sha256": SHA256,
            "dateCreated": "2024-01-15T10:30:00.000Z",
            "createdBy": "user123",
            "source": _DATASET_SOURCE,
            "profile": {"state": "Ready"},
        }
    ],
    **PAGE,
}
DATASET_PREVIEW: Json = {
    "datasetId": DATASET_ID,
    "version": 1,
    "recordCount": 8577,
    "columns": DATASET["columns"],
    "rows": [{"case:concept:name": "case-10011", "time:timestamp": "2011-10-11T13:45:40.276Z"}],
}
DATASET_PROFILE: Json = {
    "datasetId": DATASET_ID,
    "version": 1,
    "state": "Ready",
    "recordCount": 8577,
    "columns": [
        {
            "name": "case:concept:name",
            "type": "string",
            "nullCount": 0,
            "distinctCount": 1434,
            "distinctIsExact": True,
            "min": "case-10011",
            "max": "case-9997",
            "topValues": [{"value": "case-10017", "count": 25}],
            "topIsExact": True,
        }
    ],
}
UPLOAD_PROGRESS: Json = {
    "uploadId": UPLOAD_ID,
    "datasetId": DATASET_ID,
    "phase": "Receiving",
    "bytesReceived": 134_217_728,
    "rowsConverted": 2_410_000,
    "error": None,
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "dateModified": "2024-01-15T10:30:02.000Z",
}
DATASET_PAGE: Json = {"items": [DATASET], **PAGE}

ADOPTION: Json = {"datasetName": "Customer journeys, enriched"}
_MADE_ID = "890e8400-e29b-41d4-a716-446655440000"
_ORIGIN: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "notebookVersion": "1.3.2",
    "artifactId": ARTIFACT_ID,
    "artifactName": "customer_journey_enhanced",
    "datasetId": DATASET_ID,
    "datasetName": "Receipts",
    "datasetVersion": 1,
}
_LINEAGE_RUN: Json = {
    "executionId": EXECUTION_ID,
    "notebookId": NOTEBOOK_ID,
    "notebookVersion": "1.3.2",
    "datasetId": DATASET_ID,
    "datasetVersion": 1,
    "status": "Completed",
    "startTime": "2024-01-20T10:30:00.000Z",
    "endTime": "2024-01-20T10:47:00.000Z",
    "enrichedDatasets": [
        {
            "name": "customer_journey_enhanced",
            "recordCount": 15420,
            "newColumns": ["customer_segment"],
            "artifactIds": {"parquet": ARTIFACT_ID},
        }
    ],
    "datasets": [
        {
            "datasetId": _MADE_ID,
            "datasetName": "Customer journeys, enriched",
            "version": 1,
            "artifactId": ARTIFACT_ID,
        }
    ],
}
DATASET_LINEAGE: Json = {
    "kind": "dataset",
    "datasetId": _MADE_ID,
    "datasetName": "Customer journeys, enriched",
    "version": 1,
    "origins": [_ORIGIN],
    "usedBy": [{**_LINEAGE_RUN, "datasetId": _MADE_ID, "enrichedDatasets": [], "datasets": []}],
    **PAGE,
}
EXECUTION_LINEAGE: Json = {**_LINEAGE_RUN, "kind": "execution", "origins": []}

LIBRARY: Json = {
    "libraryName": "receipt_rules",
    "kind": "module",
    "version": None,
    "fileName": "receipt_rules.py",
    "sizeBytes": 5120,
    "sha256": SHA256,
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "createdBy": "user123",
}
LIBRARY_PAGE: Json = {"items": [LIBRARY], **PAGE}

TEMPLATE_DRAFT: Json = {
    "templateName": "receipt_review",
    "notebookId": NOTEBOOK_ID,
    "version": "1.2.0",
    "description": "The monthly look at receipts.",
}
_TEMPLATE_SUMMARY: Json = {
    "templateName": "receipt_review",
    "description": "The monthly look at receipts.",
    "origin": "project",
    "kernelType": "python3",
    "cellCount": 1,
    "parameters": {"type": "object", "properties": {}},
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "createdBy": "user123",
}
TEMPLATE: Json = {
    **_TEMPLATE_SUMMARY,
    "cells": [
        {
            **CELL,
            "executionCount": None,
            "hasOutput": False,
            "lastExecuted": None,
            "executionStatus": None,
            "lastModified": None,
        }
    ],
    "environment": NOTEBOOK["environment"],
}
TEMPLATE_PAGE: Json = {"items": [_TEMPLATE_SUMMARY], **PAGE}

_FILE: Json = {
    "path": "data/lookup.csv",
    "sizeBytes": 1_200,
    "sha256": SHA256,
    "mediaType": "text/csv",
    "dateModified": "2024-01-20T09:12:00.000Z",
}
NOTEBOOK_FILES: Json = {
    "notebookId": NOTEBOOK_ID,
    "notebookVersion": "1.4.0",
    "etag": "1.4.0-77e0",
    "files": [
        _FILE,
        {**_FILE, "path": "helpers.py", "sizeBytes": 640, "sha256": SHA256[::-1], "mediaType": "text/x-python"},
    ],
    "totalCount": 2,
    "totalBytes": 1_840,
    "warnings": [],
}
PUT_FILES: Json = {**NOTEBOOK_FILES, "files": [_FILE]}
FILE_TEXT = "code,name\n1,Register\n"
STORAGE: Json = {
    "datasetBytes": 734_003_200,
    "runBytes": 1_288_490_188,
    "libraryBytes": 5_120,
    "fileBytes": 1_048_576,
    "totalBytes": 2_023_547_084,
    "quotaBytes": 10_737_418_240,
}
RETENTION_POLICY: Json = {"maxAgeDays": 90, "maxRunsPerNotebook": 200, "maxBytes": None}
RETENTION: Json = {
    **RETENTION_POLICY,
    "dateModified": "2024-01-15T10:30:00.000Z",
    "modifiedBy": "user123",
    "lastApplied": "2024-01-20T10:30:00.000Z",
}

EXPECTED: Json = {"etag": "1.3.2-5f3a"}
ZIP = "PK…"
PARQUET = "PAR1…"
PDF = "%PDF-1.4…"
HTML_PAGE = "<!doctype html>…"
NOTEBOOK_TEXTS = {
    "text/x-python": "# %%\nprint('hello')\n",
    "text/x-r-source": '# %%\nprint("hello")\n',
    "text/x-scala": '// %%\nprintln("hello")\n',
    "text/markdown": "```python\nprint('hello')\n```\n",
}

PROJECT_DRAFT: Json = {"projectId": PROJECT, "projectName": "Claims handling"}
PROJECT_MADE: Json = {
    "projectId": PROJECT,
    "tenantId": TENANT,
    "projectName": "Claims handling",
    "dateCreated": "2024-01-15T10:30:00.000Z",
    "createdBy": "user123",
}
PROJECT_PAGE: Json = {"items": [PROJECT_MADE], **PAGE}

ME: Json = {"subject": "user123", "role": "editor", "tenantId": TENANT, "projects": [PROJECT]}
LIMITS: Json = {
    "notebookFileBytes": 52_428_800,
    "datasetFileBytes": 21_474_836_480,
    "libraryFileBytes": 52_428_800,
    "notebookFilesFileBytes": 50_000_000,
    "notebookFilesBytes": 200_000_000,
    "notebookFiles": 1_000,
    "jsonBodyBytes": 33_554_432,
    "jsonNesting": 100,
    "jsonValues": 300_000,
    "requestsPerSecond": 200.0,
    "tenantRequestsPerSecond": 400.0,
    "eventStreamsPerKey": 250,
    "pageSize": 100,
    "statusWaitSeconds": 20,
    "executionTimeoutSeconds": 86_400,
    "defaultExecutionTimeoutSeconds": 1_800,
    "downloadLinkSeconds": 900,
    "idempotencyKeyLength": 255,
    "maxConcurrentRuns": 100,
    "maxQueuedRuns": 10_000,
    "concurrentRuns": 2,
    "queuedRuns": 0,
    "runMemoryBytes": 4_096_000_000,
    "runProcesses": 512,
    "runOpenFiles": 4_096,
    "runFileBytes": 10_000_000_000,
    "runDiskBytes": 20_000_000_000,
    "runFiles": 100_000,
    "runCpuSeconds": None,
    "runProcessors": None,
}
