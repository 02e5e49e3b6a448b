"""Tries what a start would need, and says in one line each what would go wrong.

Every peer, folder, port, database and model is tried at the same time, each within its own
time limit; a wrong AE title is named with the AE title, the address and the peer's own words.
Changes nothing but a trial file that it removes again. Never decides how a node runs.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

from config import Settings
from config.schema import with_unit
from config.settings import (
    DicomDestination,
    FolderDestination,
    Mllp,
    MllpDestination,
    Peer,
    Stow,
    Tls,
)
from dicom_node import ports, rooms, stow
from dicom_node.destinations import Destination
from dicom_node.intake import tls
from processors import ProcessorError
from storage import StorageError, StorageNewer, StorageOutdated

Verify = Callable[[], None]
"""Opens a bundle, and looks whether what explains is installed; raises ProcessorError if it
cannot be used."""

CONTAINER_SECRETS = Path("/run/secrets")
RENEW = 14  # days before its end in which a certificate is to be renewed
_ASKED = 3
SHORTEST_KEY = 16  # bytes; HMAC-SHA256 gains nothing from a shorter one and loses much


@dataclass(frozen=True, slots=True)
class CheckResult:
    """ok False: a start, or the work after it, would fail. detail: what was found, in words."""

    name: str
    ok: bool
    detail: str


class _Wrong(Exception):
    """What a check found; everyday here, and caught where the checks are run."""


def run(
    settings: Settings,
    destinations: Mapping[str, Destination],
    *,
    bundles: Mapping[str, Verify],
) -> list[CheckResult]:
    """All checks, in the order of node.yaml. bundles: by their key there."""
    node = settings.node
    plan: dict[str, Callable[[], str]] = {
        "node.listen": partial(_dicom_port, settings),
        "node.status": partial(_second_port, settings, node.status),
        "node.data_dir": partial(_folder, node.data_dir),
        "node.audit_key_file": partial(_key, settings),
        "node.database": partial(_database, settings),
        "intake.accept_from": partial(_senders, settings),
        "intake.disk_reserve": partial(_disk, settings),
        "TZ": _time_zone,
    }
    if settings.intake.tls:
        plan["intake.tls.listen"] = partial(_tls_port, settings, settings.intake.tls)
        plan["intake.tls.certificate"] = partial(_certificate, settings.intake.tls, "intake.tls")
    if settings.intake.stow:
        plan["intake.stow"] = partial(_stow, settings, settings.intake.stow)
        if secure := settings.intake.stow.tls:
            plan["intake.stow.certificate"] = partial(_certificate, secure, "intake.stow")
    if settings.intake.mllp:
        plan["intake.mllp.listen"] = partial(_mllp_port, settings, settings.intake.mllp)
        plan["intake.mllp.accept_from"] = partial(_report_senders, settings.intake.mllp)
    for name, verify in bundles.items():
        plan[name] = partial(_bundle, verify)
    for name in settings.destinations:
        plan[f"destinations.{name}"] = partial(_peer, settings, name, destinations[name])
    with ThreadPoolExecutor(max_workers=len(plan)) as pool:
        return list(pool.map(_one, plan, plan.values()))


def _one(name: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, check())
    except _Wrong as wrong:
        return CheckResult(name, False, str(wrong))
    except OSError as error:  # a folder that may not be entered, mostly
        named = f"{error.filename}: {error.strerror}"
        return CheckResult(name, False, named if error.filename else str(error))


# ---- peers and models -------------------------------------------------------------------------
def _peer(settings: Settings, name: str, destination: Destination) -> str:
    peer = settings.destinations[name]
    if isinstance(peer, DicomDestination):
        called = f"AE title {peer.ae_title} at {peer.host}:{peer.port}"
        if peer.ae_title == settings.node.ae_title and _is_us(settings, peer):
            raise _Wrong(f"{called} is this node itself; results would come back as studies")
    elif isinstance(peer, MllpDestination):
        called = f"{peer.application} at {peer.host}:{peer.port}"
    elif isinstance(peer, FolderDestination):
        called = str(peer.path)
    if twin := _twin(settings, name):
        raise _Wrong(f"{called} is destination {twin}, too: what both are sent comes twice")
    if reason := destination.probe():
        raise _Wrong(f"{called}: {reason}")
    return f"{called} answers" + _unused(settings, name)


def _is_us(settings: Settings, peer: DicomDestination) -> bool:
    _, _, port = settings.node.listen.rpartition(":")
    return peer.port == int(port) and peer.host in {"127.0.0.1", "localhost", socket.gethostname()}


def _twin(settings: Settings, name: str) -> str:
    """Another name of the same receiver: a RIS would take its messages for other ones (MSH-10)."""
    mine = _receiver(settings.destinations[name])
    others = settings.destinations.items()
    return next((one for one, peer in others if one != name and _receiver(peer) == mine), "")


def _receiver(peer: DicomDestination | MllpDestination | FolderDestination) -> tuple[object, ...]:
    if isinstance(peer, FolderDestination):
        return (peer.path,)
    if isinstance(peer, DicomDestination):
        return peer.ae_title, peer.host, peer.port
    return peer.application, peer.facility, peer.host, peer.port


def _unused(settings: Settings, name: str) -> str:
    used = any(name in processor.send_to for processor in settings.processors)
    used = used or name in settings.impressions.send_to
    return "" if used else "; but no processor has it in send_to"


def _bundle(verify: Verify) -> str:
    try:
        verify()
    except ProcessorError as error:
        raise _Wrong(str(error)) from error
    return "can be opened, and its files match their checksums"


# ---- this machine -----------------------------------------------------------------------------
def _free_port(address: str) -> str:
    if why := ports.why_taken(address):
        raise _Wrong(f"cannot listen on {address}: {why}. {ports.way_out(why)}")
    return f"{address} is free"


def _dicom_port(settings: Settings) -> str:
    address = settings.node.listen
    try:
        return _free_port(address)
    except _Wrong:
        # a node that runs already is the usual reason, and then all is well
        if not _answers_as(settings.node.ae_title, address):
            raise
        return f"{address} is taken by a running {settings.node.ae_title}, presumably this node"


def _mllp_port(settings: Settings, mllp: Mllp) -> str:
    return _second_port(settings, mllp.listen)


def _tls_port(settings: Settings, secure: Tls) -> str:
    return _second_port(settings, secure.listen)


def _stow(settings: Settings, door: Stow) -> str:
    try:
        keys = stow.open_keys(door)
    except stow.KeysError as error:
        raise _Wrong(str(error)) from error
    who = [f"one of {len(keys.digests)} tokens"] if keys.digests is not None else []
    who += ["a certificate"] if door.trusted else []
    how = "TLS" if keys.tls else "without TLS"
    return f"{_second_port(settings, door.listen)}; {how}; senders need {' and '.join(who)}"


def _second_port(settings: Settings, address: str) -> str:
    try:
        return _free_port(address)
    except _Wrong:
        if not _answers_as(settings.node.ae_title, settings.node.listen):
            raise
        return f"{address} is taken, presumably by this node, which runs"


def _certificate(secure: Tls, key: str) -> str:
    """key: where it stands in node.yaml."""
    try:
        tls.context(secure, key)
        until = tls.valid_until(secure)
    except tls.TlsUnusable as error:
        raise _Wrong(str(error)) from error
    days = (until - datetime.now(UTC)).days
    if days < RENEW:
        raise _Wrong(f"{secure.certificate} ends on {until:%Y-%m-%d}, in {days} days: renew it")
    asks = "senders need one, too" if secure.trusted else "senders need none: set trusted to ask"
    return f"{secure.certificate} is good until {until:%Y-%m-%d}; {asks}"


def _answers_as(ae_title: str, address: str) -> bool:
    """Whether a DICOM node there knows itself by that AE title (PS3.8 table 9-21, reason 7)."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "::": "::1"}.get(host, host)  # noqa: S104
    caller = AE(ae_title=ae_title)
    caller.connection_timeout = caller.acse_timeout = caller.network_timeout = 5
    caller.add_requested_context(Verification)
    for _ in range(_ASKED):  # a rejection that comes with the end of the line is lost now and then
        try:
            association = caller.associate(host, int(port), ae_title=ae_title)
        except OSError:  # the name does not resolve
            return False
        if association.is_established or association.is_rejected:
            break
    known = bool(association.is_established)
    if association.is_rejected:
        answer = association.acceptor.primitive
        known = (answer.result_source, answer.diagnostic) == (1, 3)  # our own title calls: unknown
    if association.is_established:
        association.release()
    return known


def _time_zone() -> str:
    """Images name no offset, as a rule, so that a wrong one shows only in the reports' dates."""
    now = datetime.now(UTC).astimezone()
    return (
        f"reports are dated {now:%H:%M} now ({now:%Z}, {now:%z}); set TZ if the hospital's differs"
    )


def _folder(path: Path) -> str:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".check-") as trial:
            trial.write(b"dictamen")
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise _Wrong(f"{path} cannot be written: {error.strerror}") from error
    return f"{path} can be written"


def _key(settings: Settings) -> str:
    path = settings.node.audit_key_file
    try:
        length, mode = len(rooms.audit_key(settings)), path.stat().st_mode
    except (rooms.Unusable, OSError) as error:
        raise _Wrong(str(error)) from error
    if length < SHORTEST_KEY:
        raise _Wrong(f"{path} holds {length} bytes; a key has at least {SHORTEST_KEY}")
    mounted = path.is_relative_to(CONTAINER_SECRETS)  # there the mode is not ours to choose
    if not mounted and mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise _Wrong(f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}")
    return f"{path} holds a key"


def _database(settings: Settings) -> str:
    file = settings.node.data_dir / "dictamen.db"
    if settings.node.database == "sqlite" and not file.exists():
        return f"{file} will be made at the first start"
    try:
        rooms.storage(settings, "check").close()
    except StorageNewer as error:
        raise _Wrong(str(error)) from error
    except StorageOutdated as error:
        return f"{error} (serve does so by itself)"
    except (StorageError, rooms.Unusable) as error:
        raise _Wrong(str(error)) from error
    return "connects, and its schema is current"


def _disk(settings: Settings) -> str:
    folder = settings.node.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free, reserve = shutil.disk_usage(folder).free, settings.intake.disk_reserve
    found = f"{free / 2**30:.1f} GiB free at {folder}, {with_unit(reserve, 'size')} kept in reserve"
    if free < reserve:
        raise _Wrong(f"{found}: every instance would be refused")
    return found


def _senders(settings: Settings) -> str:
    peers = settings.intake.accept_from
    if peers == "anyone":
        return "anyone may send: list the PACS to refuse the others"
    unknown = [peer for peer in peers if peer.host and not _resolves(peer.host)]
    if unknown:
        named = ", ".join(f"{peer.host} (of {peer.ae_title})" for peer in unknown)
        raise _Wrong(f"does not resolve: {named}; its associations would be refused")
    listed = ", ".join(f"{peer.ae_title} from {peer.host or 'any address'}" for peer in peers)
    return f"{listed}; every other AE title or address is refused{_elsewhere(settings, peers)}"


def _report_senders(mllp: Mllp) -> str:
    if mllp.accept_from == "anyone":
        return "anyone may send reports: list the interface engine to refuse the others"
    if unknown := [host for host in mllp.accept_from if not _resolves(host)]:
        raise _Wrong(f"does not resolve: {', '.join(unknown)}; its reports would be refused")
    return f"reports from {', '.join(mllp.accept_from)}; every other address is refused"


def _elsewhere(settings: Settings, senders: Sequence[Peer]) -> str:
    """A PACS mostly sends from the address that it also receives at: say so if none does."""
    receiving = {
        peer.host for peer in settings.destinations.values() if isinstance(peer, DicomDestination)
    }
    hosts = {peer.host for peer in senders}
    if not receiving or None in hosts or hosts & receiving:
        return ""
    return "; no DICOM destination is among them: is the address that the PACS sends from right?"


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
