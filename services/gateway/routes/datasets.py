"""Datasets: upload, read, list, download, delete."""

from __future__ import annotations

from typing import Any

from services.gateway import dataset_upload, examples
from services.gateway.bodies import DeleteQuery, Expected, PageQuery
from services.gateway.calls import OF_DOWNLOADS, SCOPE, Answered, Asked, Call, Form, Json
from services.gateway.dataset_bodies import (
    DataQuery,
    DatasetReplacementFields,
    DatasetUploadFields,
    PreviewQuery,
    VersionQuery,
)
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from shared.contracts.datasets import (
    Dataset,
    DatasetPage,
    DatasetPreview,
    DatasetProfile,
    DatasetVersionPage,
    DeleteDataset,
    GetDataset,
    GetDatasetProfile,
    GetUploadProgress,
    ListDatasets,
    ListDatasetVersions,
    PreviewDataset,
    UploadProgress,
)
from shared.contracts.notebooks import CheckDatasetUnbound
from shared.contracts.transfers import DATASET_DOWNLOAD, DatasetDownload


async def create_dataset(asked: Asked) -> Answered:
    """`POST dataset`."""
    dataset = await dataset_upload.create(asked)
    return Answered(model=dataset, location=asked.address("dataset", dataset.dataset_id), etag=dataset.etag)


async def replace_dataset(asked: Asked) -> Answered:
    """`PUT dataset/{datasetId}`: new data, as the dataset's next version."""
    dataset = await dataset_upload.replace(asked)
    return Answered(model=dataset, etag=dataset.etag)


async def list_datasets(asked: Asked) -> DatasetPage:
    """`GET datasets`, and `GET dataset` for the vendor's client."""
    query: PageQuery = asked.query
    return await asked.ask(
        ListDatasets(
            scope=asked.scope,
            caller=asked.caller,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def get_dataset(asked: Asked) -> Answered:
    """`GET dataset/{datasetId}`."""
    dataset = await _dataset(asked)
    return Answered(model=dataset, etag=dataset.etag)


async def _dataset(asked: Asked, *, version: int | None = None) -> Dataset:
    return await asked.ask(
        GetDataset(scope=asked.scope, caller=asked.caller, dataset_id=asked.dataset_id, version=version)
    )


async def get_dataset_data(asked: Asked) -> Any:
    """`GET dataset/{datasetId}/data`."""
    query: DataQuery = asked.query
    dataset = await _dataset(asked, version=query.version)
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/datasets/{dataset.dataset_id}/data",
        purpose=DATASET_DOWNLOAD,
        claims=DatasetDownload(
            scope=asked.scope, dataset_id=dataset.dataset_id, format=query.format, version=dataset.version
        ),
        file_name=f"{dataset.dataset_name}.{query.format}",
    )


async def list_dataset_versions(asked: Asked) -> DatasetVersionPage:
    """`GET dataset/{datasetId}/versions`."""
    query: PageQuery = asked.query
    return await asked.ask(
        ListDatasetVersions(
            scope=asked.scope,
            caller=asked.caller,
            dataset_id=asked.dataset_id,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def preview_dataset(asked: Asked) -> DatasetPreview:
    """`GET dataset/{datasetId}/preview`."""
    query: PreviewQuery = asked.query
    return await asked.ask(
        PreviewDataset(
            scope=asked.scope,
            caller=asked.caller,
            dataset_id=asked.dataset_id,
            version=query.version,
            rows=query.rows,
        )
    )


async def get_dataset_profile(asked: Asked) -> DatasetProfile:
    """`GET dataset/{datasetId}/profile`."""
    return await asked.ask(
        GetDatasetProfile(
            scope=asked.scope, caller=asked.caller, dataset_id=asked.dataset_id, version=asked.query.version
        )
    )


async def get_upload_progress(asked: Asked) -> UploadProgress:
    """`GET dataset-uploads/{uploadId}`."""
    return await asked.ask(GetUploadProgress(scope=asked.scope, caller=asked.caller, upload_id=asked.ids["uploadId"]))


async def delete_dataset(asked: Asked) -> Any:
    """`DELETE dataset/{datasetId}`; 409 while a notebook is bound to it, unless `force`."""
    if not asked.query.force:
        await _dataset(asked)
        await asked.ask(CheckDatasetUnbound(scope=asked.scope, caller=asked.caller, dataset_id=asked.dataset_id))
    done = await asked.ask(
        DeleteDataset(
            scope=asked.scope,
            caller=asked.caller,
            dataset_id=asked.dataset_id,
            precondition=asked.precondition(),
        )
    )
    return json_response(Answered(model=done), 204)


CALLS = (
    Call(
        method="POST",
        path=f"{SCOPE}/dataset",
        tag="Datasets",
        summary="Upload a dataset",
        handler=create_dataset,
        role=Role.editor,
        body=Form(
            model=DatasetUploadFields,
            file="CSV, Parquet or XES; may be compressed with gzip",
            example=examples.DATASET_UPLOAD,
        ),
        reply=Dataset,
        status=201,
        example=examples.DATASET,
        creates=True,
        streams=True,
        refusals=(413,),
    ),
    Call(
        method="PUT",
        path=f"{SCOPE}/dataset/{{datasetId}}",
        tag="Datasets",
        summary="Give a dataset new data",
        handler=replace_dataset,
        role=Role.editor,
        body=Form(
            model=DatasetReplacementFields,
            file="CSV, Parquet or XES; may be compressed with gzip",
            example=examples.DATASET_REPLACEMENT,
        ),
        reply=Dataset,
        example=examples.DATASET,
        idempotent=True,
        conditional=True,
        streams=True,
        refusals=(413,),
        notes="Makes the next version; runs that have begun keep the one they read. Announced as `dataset.updated`.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/datasets",
        tag="Datasets",
        summary="List datasets",
        handler=list_datasets,
        role=Role.viewer,
        query=PageQuery,
        reply=DatasetPage,
        example=examples.DATASET_PAGE,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}",
        tag="Datasets",
        summary="Read a dataset's description",
        handler=get_dataset,
        role=Role.viewer,
        reply=Dataset,
        example=examples.DATASET,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}/data",
        tag="Datasets",
        summary="Get a dataset's rows",
        handler=get_dataset_data,
        role=Role.viewer,
        query=DataQuery,
        media_type="text/csv",
        forms={"application/vnd.apache.parquet": examples.PARQUET},
        example=examples.ROWS,
        streams=True,
        also=OF_DOWNLOADS,
        notes="As `text/csv` or `application/vnd.apache.parquet`.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}/versions",
        tag="Datasets",
        summary="List a dataset's versions",
        handler=list_dataset_versions,
        role=Role.viewer,
        query=PageQuery,
        reply=DatasetVersionPage,
        example=examples.DATASET_VERSION_PAGE,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}/preview",
        tag="Datasets",
        summary="Get a dataset's first rows",
        handler=preview_dataset,
        role=Role.viewer,
        query=PreviewQuery,
        reply=DatasetPreview,
        example=examples.DATASET_PREVIEW,
        notes=(
            "Values are exact: numbers that a double cannot hold, and times, are texts. "
            "A table that is very wide or has very long values shows fewer rows."
        ),
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}/profile",
        tag="Datasets",
        summary="Get what a dataset's columns hold",
        handler=get_dataset_profile,
        role=Role.viewer,
        query=VersionQuery,
        reply=DatasetProfile,
        example=examples.DATASET_PROFILE,
        notes="Computed after the dataset is ready; `state` says whether it is there.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/dataset-uploads/{{uploadId}}",
        tag="Datasets",
        summary="See how far an upload is",
        handler=get_upload_progress,
        role=Role.viewer,
        reply=UploadProgress,
        example=examples.UPLOAD_PROGRESS,
        notes="For uploads whose form has an `uploadId` before the file; known for a day.",
    ),
    Call(
        method="DELETE",
        path=f"{SCOPE}/dataset/{{datasetId}}",
        tag="Datasets",
        summary="Delete a dataset",
        handler=delete_dataset,
        role=Role.editor,
        query=DeleteQuery,
        body=Json(model=Expected, optional=True),
        status=204,
        conditional=True,
    ),
)
