"""TLS at the door: the profile, who a certificate names, and why a handshake failed, in words.

PS3.15 B.9 (BCP 195, non-downgrading): TLS 1.2 with ECDHE and AES-GCM, or 1.3; no compression, no
renegotiation. In: the paths of node.yaml. Out: an `ssl` context, names, reasons, days. Never: a
socket, a handshake, a decision who may come in (`dicom_node.admission`).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from config.settings import Tls

CIPHERS = "ECDHE+AESGCM"  # of TLS 1.2; 1.3 has no others worth refusing


class TlsUnusable(Exception):
    """Certificate, key or authorities cannot be used; the message says which."""


# what OpenSSL calls it -> what a person reads; the first that fits
_REASONS = (
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "TLS without a client certificate"),
    ("CERTIFICATE_VERIFY_FAILED", "TLS with a certificate that is not trusted"),
    ("UNSUPPORTED_PROTOCOL", "TLS older than 1.2"),
    ("WRONG_VERSION_NUMBER", "no TLS on the TLS port"),
    ("VERSION_TOO_LOW", "TLS older than 1.2"),
    ("HTTP_REQUEST", "HTTP on the TLS port"),
    ("NO_SHARED_CIPHER", "TLS without a cipher of BCP 195"),
    ("ALERT", "the peer broke the TLS handshake off"),
)


def context(tls: Tls, key: str = "intake.tls") -> ssl.SSLContext:
    """The server's side. key: where these paths stand in node.yaml. Raises TlsUnusable."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        made.load_cert_chain(tls.certificate, tls.key_file, password=lambda: b"")
    except OSError as error:  # an SSLError is one, too
        raise TlsUnusable(
            f"{key}.certificate: {tls.certificate} and {tls.key_file} cannot be used: "
            f"{_said(error)}. "
            "They must be a PEM certificate (with its chain) and its key without a password."
        ) from error
    if tls.trusted is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_verify_locations(tls.trusted)
        except OSError as error:
            raise TlsUnusable(
                f"{key}.trusted: {tls.trusted} cannot be used: {_said(error)}. "
                "It must hold the PEM certificates of the authorities of the senders."
            ) from error
    return made


def why(error: OSError) -> str:
    """Why a handshake failed."""
    reason = str(getattr(error, "reason", "") or "")
    for name, words in _REASONS:
        if name in reason:
            detail = getattr(error, "verify_message", "")
            return f"{words}: {detail}" if detail else words
    return f"TLS handshake failed: {reason or type(error).__name__}"


def names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Whom a verified certificate names: common name and DNS names; empty if there was none."""
    if not certificate:
        return frozenset()
    pairs = [pair for group in certificate.get("subject", ()) for pair in group]
    common = {value for key, value in pairs if key == "commonName"}
    others = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return frozenset(common | others)


def valid_until(tls: Tls) -> datetime:
    """When our certificate ends, from a handshake with ourselves. Raises TlsUnusable."""
    ours = context(tls.model_copy(update={"trusted": None}))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname = False
    theirs.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted here, whoever signed it
    theirs.load_verify_locations(tls.certificate)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = ours.wrap_bio(up, down, server_side=True), theirs.wrap_bio(down, up)
    try:
        for side in (client, server, client, server, client):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLError as error:
        raise TlsUnusable(f"{tls.certificate}: {_said(error)}.") from error
    found = client.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)


def _said(error: OSError) -> str:
    words = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
    return str(words or error).lower().replace("_", " ")
