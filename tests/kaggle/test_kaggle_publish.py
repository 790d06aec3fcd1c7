import json
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import (
    SLUG,
    USER,
    KaggleServer,
    drop,
    lost,
    lost_to,
    page,
    reply,
    silence,
)

from pipeline.errors import ArtifactError
from pipeline.kaggle.client import Patience
from pipeline.kaggle.failures import KaggleError
from pipeline.kaggle.publish import (
    DATASET_METADATA,
    NOTEBOOK_METADATA,
    publish_dataset,
    publish_notebook,
)
from pipeline.package.notebook import dataset_metadata, notebook, notebook_metadata

pytestmark = pytest.mark.contract
DATASET, NOTEBOOK = f"{USER}/run-package", f"{USER}/run-submit"
FILES = {"fold0.safetensors": bytes(range(256)) * 40, "manifest.json": b"{}", "a.whl": b"PK"}


def write(folder: Path, files: dict[str, bytes], metadata: dict[str, object], name: str) -> Path:
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    (folder / name).write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write(tmp_path / "dataset", FILES, dataset_metadata(DATASET), DATASET_METADATA)


def write_book(folder: Path) -> Path:
    cells = json.dumps(notebook("run", DATASET, SLUG, "0" * 64)).encode()
    metadata = notebook_metadata(NOTEBOOK, DATASET, SLUG)
    return write(folder, {"submit.ipynb": cells}, metadata, NOTEBOOK_METADATA)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path / "notebook")


def test_a_dataset_is_made_and_then_gets_versions(
    server: KaggleServer, dataset: Path, patience: Patience
) -> None:
    assert publish_dataset(dataset, patience=patience).endswith(f"/datasets/{DATASET}")
    assert server.datasets == {DATASET: [FILES]}
    (dataset / "manifest.json").write_bytes(b"{2}")
    publish_dataset(dataset, patience=patience)
    assert server.datasets[DATASET] == [FILES, FILES | {"manifest.json": b"{2}"}]
    assert (server.calls["CreateDataset"], server.calls["CreateDatasetVersion"]) == (1, 1)


def test_a_notebook_goes_up_without_internet_and_with_its_sources(
    server: KaggleServer, dataset: Path, book: Path, patience: Patience
) -> None:
    publish_dataset(dataset, patience=patience)
    assert publish_notebook(book, patience=patience).endswith(f"/code/{NOTEBOOK}")
    (sent,) = server.notebooks[NOTEBOOK]
    assert sent["datasetDataSources"] == [DATASET]
    assert sent["competitionDataSources"] == [SLUG]
    assert (sent["enableInternet"], sent["enableGpu"], sent["isPrivate"]) == (False, True, True)
    assert "MANIFEST_SHA256" in json.loads(sent["text"])["cells"][1]["source"]


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("CreateDataset", lost),
        ("CreateDataset", lost_to(502)),
        ("CreateDatasetVersion", lost),
        ("SaveKernel", lost),
    ],
)
def test_a_lost_reply_makes_nothing_twice(
    server: KaggleServer, dataset: Path, patience: Patience, call: str, fault: object
) -> None:
    book = write_book(dataset.parent / "notebook")
    server.fail(call, fault)
    for times in (1, 2):
        publish_dataset(dataset, patience=patience)
        publish_notebook(book, patience=patience)
        assert len(server.datasets[DATASET]) == len(server.notebooks[NOTEBOOK]) == times
    assert server.calls[call] == (2 if call == "SaveKernel" else 1)


@pytest.mark.parametrize("call", ["StartBlobUpload", "PUT", "CreateDataset", "GetDatasetStatus"])
def test_what_passes_is_tried_again(
    server: KaggleServer, dataset: Path, patience: Patience, call: str
) -> None:
    server.fail(call, reply(503, "busy"))
    publish_dataset(dataset, patience=patience)
    assert server.datasets == {DATASET: [FILES]}


@pytest.mark.parametrize("fault", [reply(403, "expired"), reply(500, "down"), drop])
def test_a_file_that_does_not_arrive_ends_it_before_anything_is_made(
    server: KaggleServer, dataset: Path, patience: Patience, fault: object
) -> None:
    server.fail("PUT", fault, times=1000)
    quick = replace(patience, put_s=0.5, attempts=2)
    with pytest.raises(KaggleError, match=r"run-package, a\.whl: .*(not arrive|no answer)"):
        publish_dataset(dataset, patience=quick)
    assert server.calls["CreateDataset"] == 0


@pytest.mark.parametrize(
    ("call", "fault", "told"),
    [
        ("GetDatasetStatus", reply(401, "Unauthenticated"), "stale or mistyped"),
        ("StartBlobUpload", reply(403, "no phone"), "no phone.*phone number is verified"),
        ("CreateDataset", reply(400, "bad slug"), r"bad slug\. Only a token of the account"),
        ("CreateDataset", reply(429, "slow down", {"Retry-After": "9999"}), "a few minutes"),
        ("CreateDataset", page(200, "<html>"), "changed the answer"),
        ("CreateDataset", page(200, '{"error": "Title taken"}'), r"Title taken\. Correct that"),
    ],
)
def test_a_refused_dataset_is_told(  # noqa: PLR0917
    server: KaggleServer, dataset: Path, patience: Patience, call: str, fault: object, told: str
) -> None:
    server.fail(call, fault)
    with pytest.raises(KaggleError, match=told):
        publish_dataset(dataset, patience=patience)
    assert server.calls[call] == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (reply(401, "Unauthenticated"), "stale or mistyped"),
        (reply(403, "denied"), r"denied\. Only a token of the account `someone`"),
        (page(200, '{"error": "Maximum batch GPU session count reached"}'), "GPU session count"),
        (page(200, '{"invalidDatasetSources": ["a/b"]}'), "it cannot use a/b"),
    ],
)
def test_a_refused_notebook_is_told(
    server: KaggleServer, book: Path, patience: Patience, fault: object, told: str
) -> None:
    server.fail("SaveKernel", fault)
    with pytest.raises(KaggleError, match=told):
        publish_notebook(book, patience=patience)


def test_the_account_of_somebody_else_is_told(
    server: KaggleServer, tmp_path: Path, patience: Patience
) -> None:
    theirs = dataset_metadata("other/run-package")
    folder = write(tmp_path / "theirs", FILES, theirs, DATASET_METADATA)
    with pytest.raises(KaggleError, match="Only a token of the account `other`"):
        publish_dataset(folder, patience=patience)


@pytest.mark.parametrize("status", ["FAILED", "BLOBS_RECEIVED"])
def test_a_dataset_that_does_not_become_ready_is_told(
    server: KaggleServer, dataset: Path, patience: Patience, status: str
) -> None:
    server.dataset_status = status
    with pytest.raises(KaggleError, match=rf"is '{status.lower()}' in version 1, expected 'ready'"):
        publish_dataset(dataset, patience=replace(patience, score_s=0.3))


def test_silence_ends_at_the_deadline(
    server: KaggleServer, dataset: Path, patience: Patience
) -> None:
    server.fail("GetDatasetStatus", silence, times=100)
    with pytest.raises(KaggleError, match=r"no answer within 1 s"):
        publish_dataset(dataset, patience=replace(patience, call_s=1.0, attempts=1))


@pytest.mark.parametrize("publish", [publish_dataset, publish_notebook])
def test_without_metadata_nothing_is_called(
    server: KaggleServer, tmp_path: Path, patience: Patience, publish: object
) -> None:
    with pytest.raises(ArtifactError, match=r"metadata\.json: missing"):
        publish(tmp_path, patience=patience)
    assert not server.calls
