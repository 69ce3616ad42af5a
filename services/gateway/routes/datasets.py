"""Datasets: upload, read, list, download, delete."""

from __future__ import annotations

from typing import Any

from services.gateway import dataset_upload, examples
from services.gateway.bodies import DeleteQuery, Expected, PageQuery
from services.gateway.calls import SCOPE, Answered, Asked, Call, Form, Json
from services.gateway.dataset_bodies import DataQuery, DatasetReplacementFields, DatasetUploadFields
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from shared.contracts.datasets import Dataset, DatasetPage, DeleteDataset, GetDataset, ListDatasets
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
        media_type="application/octet-stream",
        streams=True,
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
