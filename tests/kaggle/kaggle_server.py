"""A server on this machine that speaks Kaggle's protocol to the unmodified client.

`KAGGLE_API_ENVIRONMENT=LOCALHOST` makes the client call http://localhost, and `HTTP_PROXY` brings
those calls here. `fail` makes chosen calls go wrong in chosen ways, a number of times. A call is
named by its operation, by `PUT`, by `GET` (the archive) or by `resume` (a part of it).
"""

import base64
import json
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLUG = "airbus-ship-detection"
TOKEN, USER, KEY = "good-token", "someone", "good-key"
Fault = Callable[["Handler"], None]


def reply(status: int, message: str = "", headers: dict[str, str] | None = None) -> Fault:
    """Answer with an error of Kaggle's form."""
    body = {"code": status, "message": message}
    return lambda handler: handler.send(status, body, headers)


def page(status: int, text: str) -> Fault:
    """Answer with something that is not Kaggle's form."""
    return lambda handler: handler.send_bytes(status, text.encode(), {"Content-Type": "text/html"})


def honest(handler: "Handler") -> None:
    """Go right, for the calls before the one that goes wrong."""
    handler.serve()


def drop(handler: "Handler") -> None:
    """Close the connection without an answer."""
    handler.close()


def silence(handler: "Handler") -> None:
    """Keep the connection and say nothing."""
    handler.kaggle.closing.wait()
    handler.close()


def lost(handler: "Handler") -> None:
    """Do what was asked, and lose the reply."""
    handler.mute = True
    handler.serve()
    handler.close()


def lost_to(status: int) -> Fault:
    """Do what was asked, and reply with an error."""

    def fault(handler: "Handler") -> None:
        handler.mute = True
        handler.serve()
        handler.mute = False
        handler.send(status, {"code": status, "message": "upstream"})

    return fault


def cut(after: int, *, then: Callable[["Handler"], None] = drop) -> Fault:
    """Announce the rest of the archive and send only `after` bytes of it."""

    def fault(handler: "Handler") -> None:
        handler.send_file(limit=after)
        then(handler)

    return fault


def flipped(handler: "Handler") -> None:
    """Send the archive with one wrong byte in its first member."""
    handler.send_file(change=lambda data: data[:999] + bytes([255 ^ data[999]]) + data[1000:])


def swapped(handler: "Handler") -> None:
    """Send the right number of wrong bytes."""
    handler.send_file(change=lambda data: bytes(len(data)))


@dataclass
class KaggleServer:
    """State of the imitated Kaggle; `url` is the proxy to set."""

    archive: bytes = b""
    etag: str = '"v1"'
    ranges: bool = True
    allowed: int = 5
    joined: bool = True
    scores: tuple[str, str] = ("0.81234", "0.83456")
    status: str = "COMPLETE"
    reason: str = ""
    pending_looks: int = 1
    submissions: list[dict[str, Any]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    dataset_status: str = "READY"
    notebooks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.lock = threading.RLock()

    def fail(self, call: str, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls of `call` go wrong."""
        self.faults[call] += [fault] * times

    def __enter__(self) -> "KaggleServer":
        handler = type("BoundHandler", (Handler,), {"kaggle": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # a client that was killed resets its connection
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    kaggle: KaggleServer
    mute = False
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.take()

    def do_PUT(self) -> None:
        self.take()

    def do_GET(self) -> None:
        self.take()

    def take(self) -> None:
        self.mute = False
        try:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.name = self.path.split("/")[-1]
            if self.command != "POST":
                self.name = "resume" if "Range" in self.headers else self.command
            with self.kaggle.lock:
                self.kaggle.calls[self.name] += 1
                faults = self.kaggle.faults[self.name]
                fault = faults.pop(0) if faults else None
            if fault:
                fault(self)
            else:
                self.serve()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def close(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        if self.command == "PUT":
            self.kaggle.uploads[self.path.split("/")[-1]] = self.body
            self.send(200, {})
        elif self.command == "GET":
            self.send_file()
        elif self.name == "IntrospectToken":
            good = json.loads(self.body)["token"] == TOKEN
            self.send(200, {"active": good, "username": USER if good else ""})
        elif self.headers.get("Authorization") not in (
            f"Bearer {TOKEN}",
            "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode(),
        ):
            self.send(401, {"code": 401, "message": "Unauthenticated"})
        else:
            order = json.loads(self.body or b"{}")
            if order.get("competitionName", SLUG) != SLUG:
                words = "Permission 'competitions.get' was denied"
                self.send(403, {"code": 403, "message": words})
            elif self.owner(order) != USER:
                self.send(403, {"code": 403, "message": "Permission 'datasets.create' was denied"})
            elif not self.kaggle.joined:
                words = "You must accept this competition's rules before you can continue"
                self.send(403, {"code": 403, "message": words})
            else:
                with self.kaggle.lock:
                    OPERATIONS[self.name](self, order)

    def owner(self, order: dict[str, Any]) -> str:
        slug = order.get("slug", "").partition("/")[0] if self.name == "SaveKernel" else USER
        return str(order.get("ownerSlug") or order.get("userName") or slug)

    def download(self, order: dict[str, Any]) -> None:
        self.send(302, {}, {"Location": "http://localhost/storage/archive.zip"})

    def limits(self, order: dict[str, Any]) -> None:
        made = len(self.kaggle.submissions)
        allowed = max(0, self.kaggle.allowed - made)
        self.send(200, {"numToday": made, "numTotal": made, "numAllowedNow": allowed})

    def start_upload(self, order: dict[str, Any]) -> None:
        token = f"upload-{self.kaggle.calls['StartSubmissionUpload']}"
        self.send(200, {"token": token, "createUrl": f"http://localhost/upload/{token}"})

    def create(self, order: dict[str, Any]) -> None:
        if len(self.kaggle.submissions) >= self.kaggle.allowed:
            words = "Submission not allowed: you have used your daily submission limit."
            self.send(400, {"code": 400, "message": words})
            return
        if order["blobFileTokens"] not in self.kaggle.uploads:
            self.send(400, {"code": 400, "message": "no such file"})
            return
        ref = 1000 + len(self.kaggle.submissions)
        made = {"ref": ref, "description": order["submissionDescription"], "looks": 0}
        self.kaggle.submissions.insert(0, made)
        self.send(200, {"message": "Successfully submitted", "ref": ref})

    def start_blob(self, order: dict[str, Any]) -> None:
        assert order["type"] == "DATASET"
        token = f"blob-{self.kaggle.calls['StartBlobUpload']}"
        self.kaggle.names[token] = order["name"]
        self.send(200, {"token": token, "createUrl": f"http://localhost/upload/{token}"})

    def dataset(self, order: dict[str, Any]) -> None:
        """Answer GetDataset and GetDatasetStatus."""
        versions = self.kaggle.datasets.get(f"{order['ownerSlug']}/{order['datasetSlug']}")
        if not versions:
            self.send(403, {"code": 403, "message": "Permission 'datasets.get' was denied"})
            return
        state = {"currentVersionNumber": len(versions), "status": self.kaggle.dataset_status}
        self.send(200, state)

    def save_dataset(self, order: dict[str, Any]) -> None:
        """Answer CreateDataset and CreateDatasetVersion."""
        new = self.name == "CreateDataset"
        body = order if new else order["body"]
        versions = self.kaggle.datasets.setdefault(
            f"{order['ownerSlug']}/{order['slug'] if new else order['datasetSlug']}", []
        )
        if new and versions:
            error = f'The requested title "{order["title"]}" is already in use by a dataset.'
            self.send(200, {"status": "error", "error": error})
            return
        assert body.get("isPrivate") or not new
        tokens = [file["token"] for file in body["files"]]
        versions.append({self.kaggle.names[token]: self.kaggle.uploads[token] for token in tokens})
        self.send(200, {"status": "ok", "error": ""})

    def notebook(self, order: dict[str, Any]) -> None:
        versions = self.kaggle.notebooks.get(f"{order['userName']}/{order['kernelSlug']}")
        if not versions:
            self.send(404, {"code": 404, "message": "Not found"})
            return
        self.send(200, {"metadata": {"currentVersionNumber": len(versions)}})

    def save_notebook(self, order: dict[str, Any]) -> None:
        unknown = [one for one in order["datasetDataSources"] if one not in self.kaggle.datasets]
        versions = self.kaggle.notebooks.setdefault(order["slug"], [])
        versions.append(order)
        answer = {"versionNumber": len(versions), "invalidDatasetSources": unknown}
        self.send(200, answer | {"url": f"https://www.kaggle.com/code/{order['slug']}"})

    def submissions(self, order: dict[str, Any]) -> None:
        size, number = order.get("pageSize", 20), order.get("page", 1)
        listed = self.kaggle.submissions[(number - 1) * size : number * size]
        self.send(200, {"submissions": [self.state(one) for one in listed]})

    def state(self, made: dict[str, Any]) -> dict[str, Any]:
        made["looks"] += 1
        shown = {"ref": made["ref"], "description": made["description"]}
        if made["looks"] <= self.kaggle.pending_looks:
            return shown | {"status": "PENDING", "publicScore": "", "privateScore": ""}
        if self.kaggle.status == "ERROR":
            return shown | {"status": "ERROR", "errorDescription": self.kaggle.reason}
        public, private = self.kaggle.scores
        return shown | {"status": "COMPLETE", "publicScore": public, "privateScore": private}

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = {"Content-Type": "application/json"} | (headers or {})
        self.send_bytes(status, json.dumps(body).encode(), content)

    def send_bytes(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self.mute:
            return
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_file(
        self, limit: int | None = None, change: Callable[[bytes], bytes] = lambda data: data
    ) -> None:
        data, start = self.kaggle.archive, 0
        wanted = self.headers.get("Range")
        if wanted and self.kaggle.ranges and self.headers.get("If-Range") == self.kaggle.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", self.kaggle.etag)
        if self.kaggle.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        part = change(data[start:][:limit])
        self.wfile.write(part)
        self.wfile.flush()


OPERATIONS = {
    "DownloadDataFiles": Handler.download,
    "GetSubmissionLimits": Handler.limits,
    "StartSubmissionUpload": Handler.start_upload,
    "CreateSubmission": Handler.create,
    "ListSubmissions": Handler.submissions,
    "StartBlobUpload": Handler.start_blob,
    "GetDataset": Handler.dataset,
    "GetDatasetStatus": Handler.dataset,
    "CreateDataset": Handler.save_dataset,
    "CreateDatasetVersion": Handler.save_dataset,
    "GetKernel": Handler.notebook,
    "SaveKernel": Handler.save_notebook,
}
