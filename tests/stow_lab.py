"""A node with the web door, peers that talk to it, certificates. Not a fixture file.

The peers are urllib's and raw sockets; nothing here uses the door's own code.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import intake_lab as lab
from pydicom.dataset import Dataset

TOKEN, OTHER_TOKEN = "a-token-of-the-tests-0123456789", "another-token-of-the-tests-01234"
BOUNDARY = "part-of-the-tests"
KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[tuple[lab.Node, int]]:
    """A node and the port of its web door; stow: keys of intake.stow beside the token's."""
    tokens = folder / "stow.token"
    tokens.write_text(f"# of the tests\nGATEWAY {TOKEN}\nOTHER\t{OTHER_TOKEN}\n")
    port = lab.free_port()
    stow = {"listen": f"127.0.0.1:{port}", "token_file": str(tokens), **options.pop("stow", {})}
    stow = {key: value for key, value in stow.items() if value is not None}
    with lab.running(folder, stow=stow, **options) as node:
        assert lab.eventually(lambda: node.events("stow.started"), 30)
        yield node, port


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    said: dict[str, Any]

    def stored(self) -> list[str]:
        """SOP Instance UIDs of the Referenced SOP Sequence."""
        return [item["00081155"]["Value"][0] for item in _items(self.said, "00081199")]

    def failed(self) -> dict[str, int]:
        """SOP Instance UID -> Failure Reason."""
        return {
            item["00081155"]["Value"][0]: item["00081197"]["Value"][0]
            for item in _items(self.said, "00081198")
        }

    def others(self) -> list[int]:
        """Failure Reasons of the Other Failures Sequence."""
        return [item["00081197"]["Value"][0] for item in _items(self.said, "0008119A")]


def _items(said: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return list(said.get(tag, {}).get("Value", ()))


def file_of(made: Dataset) -> bytes:
    """As a DICOM file."""
    out = BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def body_of(*files: bytes, kind: str = "application/dicom", boundary: str = BOUNDARY) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
    parts = b"".join(head + one + b"\r\n" for one in files)
    return parts + f"--{boundary}--\r\n".encode()


def call(
    port: int,
    body: Any = b"",
    *,
    method: str = "POST",
    path: str = "/studies",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """One request; headers with _ for -. An empty one is left out."""
    sent = {
        "Authorization": f"Bearer {TOKEN}", "Content-Type": KIND,
        "Accept": "application/dicom+json",
    }  # fmt: skip
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in sent.items() if value}
    if tls:
        link: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=60, context=tls
        )
    else:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        link.request(method, path, body, sent, encode_chunked="Transfer-Encoding" in sent)
        answer = link.getresponse()
        raw = answer.read()
        return Answer(answer.status, dict(answer.getheaders()), json.loads(raw or b"{}"))
    finally:
        link.close()


def send(port: int, *made: Dataset, **options: Any) -> Answer:
    return call(port, body_of(*(file_of(one) for one in made)), **options)


# ---- certificates ---------------------------------------------------------------------------
def authority(folder: Path, name: str) -> Path:
    """A certificate authority of its own: folder/name.pem and .key."""
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", "2",
        "-subj", f"/CN={name}",
    )  # fmt: skip
    return folder / f"{name}.pem"


def certificate(folder: Path, name: str, by: Path, *, days: int = 2) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 under that common name, and its key; days below 0: expired."""
    key, request, made = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
    _openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", key, "-out", request, "-subj", f"/CN={name}",
    )  # fmt: skip
    extra = folder / f"{name}.ext"
    extra.write_text("subjectAltName=IP:127.0.0.1\n")
    _openssl(
        "x509", "-req", "-in", request, "-CA", by, "-CAkey", by.with_suffix(".key"),
        "-CAcreateserial", "-out", made, "-days", str(days), "-extfile", extra,
    )  # fmt: skip
    return made, key


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *(str(word) for word in words)], check=True, capture_output=True)


def trusting(by: Path, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A sender that trusts this authority and shows this certificate."""
    context = ssl.create_default_context(cafile=by)
    if pair:
        context.load_cert_chain(*pair)
    return context
