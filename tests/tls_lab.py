"""Authorities and certificates for tests of TLS, made by openssl. Never one that anybody trusts."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:{name}\n"


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Pair:
    """A certificate authority of its own."""
    made = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
             "-out", made.certificate, "-keyout", made.key)  # fmt: skip
    return made


def signed(folder: Path, name: str, by: Pair, *, days: int = 30) -> Pair:
    """A certificate for `name`; days below 1: it has ended already."""
    made, request = Pair(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text(EXTENSIONS.format(name=name))
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-out", request,
             "-keyout", made.key)  # fmt: skip
    _openssl("x509", "-req", "-in", request, "-CA", by.certificate, "-CAkey", by.key, "-days",
             str(days), "-set_serial", str(abs(hash(name)) % 10**9), "-extfile", extensions,
             "-out", made.certificate)  # fmt: skip
    return made


def _openssl(*words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
