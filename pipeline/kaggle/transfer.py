"""The competition's archive, fetched into a file from where the file ends; in the worker process.

The client is asked for the archive and answers with a stream from the storage that Kaggle redirects
to. Its own download function is not used: 2.2.4 writes the body of an error over what it has, goes
on from there in the next run, and ends well with the right size and the wrong content (measured
with a 503 to the resume). Here a byte is written only after a 206 that starts where the file ends,
or after a 200.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.kaggle.calls import new_client

# What a break loses at most; small, so that a line that breaks often still gets on.
CHUNK_BYTES = 2**16


def archive_size(slug: str) -> int | None:
    """Return the bytes of the competition's archive, if Kaggle tells."""
    with _open_archive(slug) as response:
        length = response.headers.get("Content-Length")
    return int(length) if length else None


def fetch_archive(slug: str, partial: str) -> None:
    """Complete the file `partial`, from where it stands if it is part of the same archive.

    Raises:
        ConnectionError: The transfer broke; what came stays.
    """
    target = Path(partial)
    response = _open_archive(slug)
    offset = _bytes_to_keep(target, response)
    if offset and offset == int(response.headers["Content-Length"]):
        response.close()
        return
    if offset:
        response, offset = _reopen_at(response, offset)
    length = response.headers.get("Content-Length")
    size = offset + int(length) if length else None
    with response, target.open("ab" if offset else "wb") as file:
        # The marker follows the emptying, so that it never vouches for bytes of another archive.
        marker = {"identity": _identity(response), "size": size}
        target.with_name(f"{target.name}.json").write_text(json.dumps(marker), encoding="utf-8")
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            file.flush()  # the owner watches the file grow
    if size is not None and target.stat().st_size != size:
        raise ConnectionError(f"{target.stat().st_size} of {size} bytes came")


def _open_archive(slug: str) -> Any:  # noqa: ANN401  requests.Response, imported lazily
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = slug
    return new_client().competitions.competition_api_client.download_data_files(request)


def _identity(response: Any) -> str | None:  # noqa: ANN401  requests.Response
    value = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return str(value) if value else None


def _bytes_to_keep(target: Path, response: Any) -> int:  # noqa: ANN401  requests.Response
    """Return how many bytes of `target` are the beginning of what `response` would bring."""
    try:
        marker = json.loads(target.with_name(f"{target.name}.json").read_text(encoding="utf-8"))
        there = target.stat().st_size
    except (OSError, ValueError):
        return 0
    size = int(response.headers.get("Content-Length") or 0)
    known = {"identity": _identity(response), "size": size}
    if marker != known or known["identity"] is None or response.request.method != "GET":
        return 0
    return there if there <= size else 0


def _reopen_at(response: Any, offset: int) -> tuple[Any, int]:  # noqa: ANN401  requests.Response
    """Ask for the rest; return the answer and the offset at which its body starts."""
    import requests

    response.close()
    headers = dict(response.request.headers) | {
        "Range": f"bytes={offset}-",
        "If-Range": _identity(response),
        "Accept-Encoding": "identity",
    }
    rest = requests.get(response.url, headers=headers, stream=True)
    rest.raise_for_status()
    if rest.status_code != 206:
        return rest, 0
    if not rest.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        raise ConnectionError("the storage sent another part of the archive than was asked for")
    return rest, offset
