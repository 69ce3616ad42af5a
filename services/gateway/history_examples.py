"""Examples of the calls about a notebook's history: versions, differences, copies, compared runs."""

from __future__ import annotations

from services.gateway.examples import (
    ARTIFACT_ID,
    CREATED_NOTEBOOK,
    DATASET_ID,
    EXECUTION_ID,
    NOTEBOOK,
    NOTEBOOK_ID,
    PAGE,
    SHA256,
    Json,
)

OTHER_EXECUTION_ID = "bb0e8400-e29b-41d4-a716-446655440001"

_SUMMARY: Json = {
    "version": "1.3.1",
    "notebookName": "Process Mining Analysis",
    "kernelType": "python3",
    "contentSha256": SHA256,
    "dateCreated": "2024-01-19T14:20:00.000Z",
    "createdBy": "user123",
    "changeMessage": "Weekends count as well",
    "restoredFrom": None,
}
VERSION_PAGE: Json = {"versions": [_SUMMARY], **PAGE}
VERSION: Json = {
    **_SUMMARY,
    "notebookId": NOTEBOOK_ID,
    "notebookDescription": NOTEBOOK["notebookDescription"],
    "integration": NOTEBOOK["integration"],
    "environment": NOTEBOOK["environment"],
    "parameters": {"type": "object", "properties": {}},
    "cells": [
        {
            "cellId": "cell-001",
            "cellType": "code",
            "content": "include_weekends = True",
            "tags": ["parameters"],
            "metadata": {},
        }
    ],
    "files": [{"path": "data/lookup.csv", "sizeBytes": 1_200, "sha256": SHA256}],
}
_CELL_DIFFERENCE: Json = {
    "cellId": "cell-001",
    "change": "changed",
    "cellType": "code",
    "indexA": 0,
    "indexB": 0,
    "parts": ["source"],
    "lines": ["-include_weekends = True", "+include_weekends = False"],
}
_SETTING_DIFFERENCE: Json = {"path": "integration.outputFormat", "a": "csv", "b": "parquet"}
NOTEBOOK_DIFF: Json = {
    "notebookId": NOTEBOOK_ID,
    "a": "1.3.1",
    "b": "1.4.0",
    "equal": False,
    "settings": [_SETTING_DIFFERENCE],
    "cells": [_CELL_DIFFERENCE],
    "files": [
        {
            "path": "data/lookup.csv",
            "change": "changed",
            "a": {"sha256": SHA256, "sizeBytes": 1_200},
            "b": {"sha256": SHA256[::-1], "sizeBytes": 1_350},
        }
    ],
    "diff": [
        {
            "op": "patch",
            "key": "cells",
            "diff": [
                {
                    "op": "patch",
                    "key": 0,
                    "diff": [{"op": "replace", "key": "source", "value": "include_weekends = False"}],
                }
            ],
        }
    ],
}
COPY_REQUEST: Json = {"notebookName": "Process Mining Analysis, second try", "version": "1.3.1"}
NOTEBOOK_COPY: Json = {
    **CREATED_NOTEBOOK,
    "notebookName": COPY_REQUEST["notebookName"],
    "session": None,
}
PARAMETER_SCHEMA: Json = {
    "title": "Process Mining Analysis",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "analysis_period": {
            "title": "Analysis period",
            "type": "string",
            "default": "2024-01",
            "description": "month to look at",
            "x-order": 0,
        },
        "time_window": {
            "title": "Time window",
            "type": "string",
            "enum": ["day", "week", "month"],
            "default": "week",
            "x-order": 1,
        },
    },
    "x-order": ["analysis_period", "time_window"],
}


def _run(execution_id: str, version: str) -> Json:
    return {
        "executionId": execution_id,
        "notebookVersion": version,
        "status": "Completed",
        "startTime": "2024-01-20T10:30:00.000Z",
        "endTime": "2024-01-20T10:47:00.000Z",
        "createdBy": "user123",
        "errorType": None,
        "errorMessage": None,
        "failedCell": None,
    }


_DATASET: Json = {
    "datasetId": DATASET_ID,
    "datasetName": "Receipts",
    "version": 2,
    "recordCount": 8577,
    "sha256": SHA256,
}
_OUTPUT: Json = {"artifactId": ARTIFACT_ID, "contentType": "image/png", "sizeBytes": 5120, "sha256": SHA256}
COMPARISON: Json = {
    "notebookId": NOTEBOOK_ID,
    "a": _run(EXECUTION_ID, "1.3.1"),
    "b": _run(OTHER_EXECUTION_ID, "1.4.0"),
    "sameInputs": False,
    "source": {
        "equal": False,
        "a": "1.3.1",
        "b": "1.4.0",
        "cells": [_CELL_DIFFERENCE],
        "files": [
            {
                "path": "data/lookup.csv",
                "change": "changed",
                "a": {"sha256": SHA256, "sizeBytes": 1_200},
                "b": {"sha256": SHA256[::-1], "sizeBytes": 1_350},
            }
        ],
        "settings": [_SETTING_DIFFERENCE],
    },
    "parameters": {
        "equal": False,
        "differences": [{"name": "analysis_period", "change": "changed", "a": "2024-01", "b": "2024-02"}],
    },
    "environment": {
        "equal": False,
        "a": "8d1f0c",
        "b": "77ab21",
        "pythonVersionA": "3.11.2",
        "pythonVersionB": "3.11.2",
        "packages": [{"name": "inflection", "a": None, "b": "0.5.1"}],
    },
    "dataset": {"equal": True, "a": _DATASET, "b": _DATASET},
    "outputs": {
        "equal": False,
        "items": [
            {
                "cellId": "cell-008",
                "kind": "output",
                "name": "output",
                "change": "changed",
                "a": _OUTPUT,
                "b": {**_OUTPUT, "sizeBytes": 5216},
            }
        ],
    },
    "timings": {
        "totalSecondsA": 1020.0,
        "totalSecondsB": 985.2,
        "queuedSecondsA": 0.1,
        "queuedSecondsB": 0.3,
        "preparationSecondsA": 0.0,
        "preparationSecondsB": 4.1,
        "cells": [
            {"cellId": "cell-001", "statusA": "Success", "statusB": "Success", "secondsA": 0.01, "secondsB": 0.01}
        ],
    },
}
