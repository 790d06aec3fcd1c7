"""What is asked of the `kaggle` client about datasets and notebooks, in the worker process.

Its `dataset_create_new` and `dataset_create_version` are taken apart into their calls: they go on
without a file whose upload failed, and take any refusal for a dataset that is not there.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.kaggle.calls import client_api, new_client

ABSENT = (403, 404)  # Kaggle's answers to a name that does not exist
NOTES = "made by pipeline.commands.build_package"


def _absent(error: Any) -> bool:  # noqa: ANN401  requests.HTTPError, imported lazily
    return error.response is not None and error.response.status_code in ABSENT


def dataset_state(slug: str) -> dict[str, Any]:
    """Return `version`, 0 if there is no dataset `USER/NAME`, and `status`, such as "ready"."""
    import requests

    try:
        state = json.loads(client_api().dataset_status(slug, format="json"))
    except requests.HTTPError as error:
        if not _absent(error):
            raise
        return {"version": 0, "status": "absent"}
    return {"version": state["current_version_number"], "status": state["status"]}


def start_file(path: str) -> dict[str, str]:
    """Announce a dataset's file; return the address to put it to, and its token."""
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type = ApiBlobType.DATASET
    request.name = Path(path).name
    request.content_length = Path(path).stat().st_size
    request.last_modified_epoch_seconds = int(Path(path).stat().st_mtime)
    with new_client() as kaggle:
        answer = kaggle.blobs.blob_api_client.start_blob_upload(request)
    return {"url": answer.create_url, "token": answer.token}


def save_dataset(metadata: dict[str, Any], tokens: list[str], new: bool) -> str:
    """Make a dataset, or its next version, of the files behind `tokens`.

    Returns:
        Kaggle's objection, "" for none.
    """
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiCreateDatasetRequest,
        ApiCreateDatasetVersionRequest,
        ApiCreateDatasetVersionRequestBody,
        ApiDatasetNewFile,
    )

    files = []
    for token in tokens:
        file = ApiDatasetNewFile()
        file.token = token
        files.append(file)
    owner, _, slug = metadata["id"].partition("/")
    with new_client() as kaggle:
        datasets = kaggle.datasets.dataset_api_client
        if new:
            request = ApiCreateDatasetRequest()
            request.owner_slug, request.slug = owner, slug
            request.title = metadata["title"]
            request.license_name = metadata["licenses"][0]["name"]
            request.is_private = True
            request.files = files
            answer = datasets.create_dataset(request)
        else:
            body = ApiCreateDatasetVersionRequestBody()
            body.version_notes = NOTES
            body.files = files
            version = ApiCreateDatasetVersionRequest()
            version.owner_slug, version.dataset_slug, version.body = owner, slug, body
            answer = datasets.create_dataset_version(version)
    return str(answer.error or "")


def notebook_version(slug: str) -> int:
    """Return the newest version of the notebook `USER/NAME`, 0 if there is none."""
    import requests
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, _, request.kernel_slug = slug.partition("/")
    try:
        with new_client() as kaggle:
            found = kaggle.kernels.kernels_api_client.get_kernel(request)
    except requests.HTTPError as error:
        if not _absent(error):
            raise
        return 0
    return int(found.metadata.current_version_number or 0)


def save_notebook(folder: str) -> str:
    """Send the notebook in `folder`, which makes it run.

    Returns:
        Kaggle's objection, "" for none.
    """
    answer = client_api().kernels_push(folder)
    sources = [
        *(answer.invalid_dataset_sources or []),
        *(answer.invalid_competition_sources or []),
    ]
    if sources and not answer.error:
        return (
            f"it cannot use {', '.join(sources)}: its owner must have accepted the rules of a "
            "competition, and own a private dataset"
        )
    return str(answer.error or "")
