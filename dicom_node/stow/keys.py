"""Who may send by web, and the TLS that a sender sees.

Tokens stand in a file, one line each: a name of up to 16 characters (it is the sender's title in
rules, rows and audit) and the token (RFC 6750 2.1). TLS is that of the other door. What is
configured is required: with `trusted` a certificate, with `token_file` a token. Never: a token in a
message, a log line or an exception.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.settings import Stow, Tls
from dicom_node.intake import tls

_LINE = re.compile(r"([!-\[\]-~]{1,16})[ \t]+([A-Za-z0-9._~+/-]{20,512}=*)")


class KeysError(Exception):
    """A file of intake.stow cannot be used; the message names the key and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """digests: name -> SHA-256 of its token; None: no token is asked for."""

    digests: Mapping[str, bytes] | None
    tls: ssl.SSLContext | None

    def name_of(self, token: str) -> str:
        """Whose token this is, or ""."""
        shown, found = hashlib.sha256(token.encode()).digest(), ""
        for name, digest in (self.digests or {}).items():
            if hmac.compare_digest(digest, shown):
                found = name
        return found


def open_keys(stow: Stow) -> Keys:
    """Read what the settings name. Raises KeysError."""
    digests = _tokens(stow.token_file) if stow.token_file else None
    return Keys(digests, _context(stow.tls) if stow.tls else None)


def _tokens(path: Path) -> dict[str, bytes]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8"
        raise KeysError(f"intake.stow.token_file: {path} cannot be read: {why}") from error
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        fits = _LINE.fullmatch(line.strip())
        if fits is None or fits[1] in found:
            why = "the name is there already" if fits else "write a name of 1 to 16 characters and "
            why += "" if fits else "a token of 20 to 512, with a space between them"
            raise KeysError(f"intake.stow.token_file: {path}, line {number}: {why}")
        found[fits[1]] = hashlib.sha256(fits[2].encode()).digest()
    if not found:
        raise KeysError(f"intake.stow.token_file: {path} holds no token")
    return found


def _context(secure: Tls) -> ssl.SSLContext:
    try:
        made = tls.context(secure, "intake.stow")
    except tls.TlsUnusable as error:
        raise KeysError(str(error)) from error
    made.set_alpn_protocols(["http/1.1"])
    return made
