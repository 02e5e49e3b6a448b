"""What node.yaml may say: frozen, typed, with every default in one place.

Pure: nothing here reads a file, the environment or a clock (see `config.load` for that). Unknown
keys are errors. Validate with `Settings.model_validate_json` (JSON mode: strict about numbers and
booleans, yet a list is a tuple and a string a path). Durations are seconds and sizes are bytes
after parsing; the file writes them as people do (10s, 2min, 3d, 128KiB, 4GiB).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

_DURATION: dict[str, float] = {
    "ms": 0.001,
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "y": 31557600,
}
_SIZE: dict[str, float] = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_AGE = 100 * _DURATION["y"]  # the calendar of a purge reaches no further back than year 1
_DISK = 1024 * _SIZE["TiB"]
_DAY = _DURATION["d"]  # the longest wait: a socket takes no more than 24 days of it


def _pattern(units: dict[str, float]) -> str:
    return rf"(\d+(?:\.\d+)?)\s*({'|'.join(sorted(units, key=len, reverse=True))})"


def _with_unit(
    units: dict[str, float], example: str, number: Callable[[float], float], most: float
) -> BeforeValidator:
    pattern = re.compile(_pattern(units))

    def parse(value: object, info: ValidationInfo) -> object:
        if info.mode == "python" and isinstance(value, int | float):
            return number(value)  # code that builds settings writes seconds and bytes
        found = pattern.fullmatch(value.strip()) if isinstance(value, str) else None
        if not found:
            raise ValueError(f"write a number with its unit, for example {example}")
        amount = float(found[1]) * units[found[2]]
        if amount > most:
            raise ValueError(f"at most {most / units[found[2]]:.0f}{found[2]}")
        return number(amount)

    return BeforeValidator(parse)


def _unit_schema(units: dict[str, float], name: str, example: str) -> WithJsonSchema:
    # x-unit: config.schema writes the defaults of such a field as people write them
    shape = {"type": "string", "pattern": f"^{_pattern(units)}$", "x-unit": name}
    return WithJsonSchema({**shape, "examples": example.split(", ")})


def _ae_title(value: str) -> str:
    # PS3.5 6.2: AE, 16 bytes of the default repertoire without backslash and control characters
    if not re.fullmatch(r"[ !-\[\]-~]{1,16}", value) or value != value.strip():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return value


def _database(value: str) -> str:
    file = value.removeprefix("sqlite:///")
    if file != value and file not in ("", ":memory:"):
        return value
    if value == "sqlite":
        return value
    if not value.startswith("postgresql+psycopg://"):
        raise ValueError("write sqlite, or postgresql+psycopg://user:${PGPASSWORD}@host/name")
    if not _is_port(_part_after_host(value) or "5432"):
        raise ValueError("the port of the database is a number from 1 to 65535")
    if "@" in urlsplit(value).path:
        raise ValueError("a password with @ or / in it: write database_password_file instead")
    return value


def _part_after_host(url: str) -> str:
    return re.sub(r"^\[.*\]", "", urlsplit(url).netloc.rpartition("@")[2]).partition(":")[2]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536


def _host(value: str) -> str:
    """A name or an address alone. 10.1.2 would be taken for 10.1.0.2, and 12 for 0.0.0.12."""
    if ":" in value or re.fullmatch(r"[\d.]+", value):
        try:
            ip_address(value)
        except ValueError:
            raise ValueError("write a host name, or an IP address in full, without port") from None
    elif not re.fullmatch(r"\w([\w.-]*[\w.])?", value):
        raise ValueError("write a host name or an IP address alone, for example 10.1.2.3")
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not _is_port(port):
        raise ValueError("write host:port, for example 0.0.0.0:11112")
    try:
        _host(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        wrong = "before the port stands one address of this machine; 0.0.0.0 is all of them"
        raise ValueError(wrong) from None
    return value


def _one_line(value: str) -> str:
    if any(unicodedata.category(letter).startswith("C") for letter in value):
        raise ValueError("one line, without control characters")
    return value


def _one_value(value: str) -> str:
    if "\\" in value:
        raise ValueError("no backslash: in DICOM it would separate two values")
    return _one_line(value)


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is named twice")
    return values


# The serializers let `Settings.model_dump_json` be read back: the settings in force go to the
# processes in that form.
Seconds = Annotated[
    float,
    _with_unit(_DURATION, "10s, 2min, 3d", float, _AGE),
    _unit_schema(_DURATION, "duration", "10s, 2min, 3d"),
    PlainSerializer(lambda seconds: f"{seconds:.3f}s", when_used="json"),
]
Bytes = Annotated[
    int,
    _with_unit(_SIZE, "128KiB, 4GiB", int, _DISK),
    _unit_schema(_SIZE, "size", "128KiB, 4GiB"),
    PlainSerializer(lambda size: f"{size}B", when_used="json"),
]
Wait = Annotated[Seconds, Field(gt=0, le=_DAY)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
Address = Annotated[str, AfterValidator(_address)]
Host = Annotated[str, AfterValidator(_host)]
Line = Annotated[str, AfterValidator(_one_line)]
Value = Annotated[str, AfterValidator(_one_value)]  # of a DICOM attribute
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
ReportKind = Literal[
    "secondary_capture", "structured_report", "segmentation", "text_report", "hl7_oru"
]
ExplainMethod = Literal["traversal", "gradcam", "occlusion", "lime", "shap"]
OWN_PROCESSORS = frozenset({"impressions", "agreement"})  # of the runs over texts
_HERE = ("127.0.0.1", "::1", "localhost")  # where http without TLS leaves no machine
ALL_REPORTS: tuple[ReportKind, ...] = (
    "secondary_capture",
    "structured_report",
    "segmentation",
    "text_report",
    "hl7_oru",
)
DEFAULT_LABEL = (
    "Not for diagnostic use. Preliminary result of a model, not reviewed by a radiologist."
)


class Part(BaseModel):
    """A mapping of node.yaml: frozen, strict, unknown keys refused."""

    # an input can hold a secret that ${VARIABLE} filled in, and errors find their way into logs
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Node(Part):
    ae_title: AETitle = Field(description="our AE title; the PACS calls us by it")
    listen: Address = Field("0.0.0.0:11112", description="address and port of the DICOM listener")
    status: Address = Field("127.0.0.1:8112", description="/healthz /readyz /metrics")
    data_dir: Path = Field(Path("/var/lib/dictamen"), description="spool and database")
    database: Annotated[str, AfterValidator(_database)] = Field(
        "sqlite",
        repr=False,
        description="sqlite, or a SQLAlchemy URL of PostgreSQL",
        json_schema_extra={"x-secret": True},
    )
    database_password_file: Path | None = Field(
        None, description="holds the password for the URL of database"
    )
    audit_key_file: Path = Field(description="keys the audit chain and hashed ids")
    language: Literal["en", "es"] = Field("en", description="of labels, captions and texts")
    label: Value = Field(
        DEFAULT_LABEL, min_length=20, max_length=200, description="stands in every output"
    )
    name: Value = Field("node-1", max_length=16, description="this node's serial in the objects")
    log: Literal["json", "console"] = Field("json", description="form of the log lines")

    @property
    def database_url(self) -> str:
        if self.database == "sqlite":
            return f"sqlite:///{self.data_dir / 'dictamen.db'}"
        return self.database


class Peer(Part):
    ae_title: AETitle = Field(description="calling AE title")
    host: Host | None = Field(None, description="address the AE title is bound to; absent: any")
    certificate: str | None = Field(
        None, min_length=1, description="common or DNS name that its TLS certificate must bear"
    )
    port: Port | None = Field(None, description="where it hears reports of storage commitment")

    @model_validator(mode="after")
    def _reachable(self) -> Peer:
        if self.port and not self.host:
            raise ValueError("port needs host: a report must know where to go")
        return self


class Tls(Part):
    """A second port with TLS (PS3.15 B.9, BCP 195)."""

    listen: Address = Field(description="address and port of the DICOM listener with TLS")
    certificate: Path = Field(description="our certificate with its chain (PEM)")
    key_file: Path = Field(description="its key (PEM, without a password)")
    trusted: Path | None = Field(
        None, description="authorities of the senders (PEM): then each needs a certificate"
    )


class Limits(Part):
    associations: int = Field(100, ge=1, le=10_000, description="at once, all peers together")
    per_address: int = Field(20, ge=1, description="at once from one IP address")
    handshake: Wait = Field(5.0, description="until an association must be established")
    idle: Wait = Field(60.0, description="silence after which an association is ended")
    pdu: Bytes = Field(128 * 2**10, ge=4096, le=2**27, description="longest PDU we take")
    instance: Bytes = Field(4 * 2**30, ge=2**20, description="largest instance we take")
    stop: Wait = Field(20.0, description="time that running work gets at a stop")


class MllpLimits(Part):
    connections: int = Field(50, ge=1, le=1000, description="at once, all senders together")
    per_address: int = Field(10, ge=1, description="at once from one IP address")
    message: Bytes = Field(2**20, ge=4096, le=64 * 2**20, description="longest message we take")
    receive: Wait = Field(30.0, description="from the first byte of a message to its last")
    idle: Wait = Field(600.0, description="silence after which a connection is closed")


class Mllp(Part):
    """The door for reports: HL7 v2 ORU^R01 over MLLP."""

    listen: Address = Field(description="address and port of the MLLP listener")
    accept_from: tuple[Host, ...] | Literal["anyone"] = Field(
        description="who may send: a list of hosts, or the word anyone"
    )
    processing: Literal["P", "T", "D"] = Field("P", description="MSH-11 that we take")
    limits: MllpLimits = MllpLimits()


class StowLimits(Part):
    connections: int = Field(32, ge=1, le=1000, description="at once, all senders together")
    per_address: int = Field(8, ge=1, description="at once from one IP address")
    body: Bytes = Field(16 * 2**30, ge=2**20, description="longest request that we take")
    parts: int = Field(10_000, ge=1, description="instances in one request")
    head: Wait = Field(10.0, description="until TLS stands and a request's headers came")
    idle: Wait = Field(30.0, description="silence after which a connection is closed")
    slowest: Bytes = Field(1024, ge=1, description="a second, on average: who sends less is let go")


class Stow(Part):
    """The door for images by web: STOW-RS (PS3.18 10.5)."""

    listen: Address = Field(
        "127.0.0.1:8443", description="address and port; away from this machine only with TLS"
    )
    token_file: Path | None = Field(None, description="a line each: the sender's name, its token")
    certificate: Path | None = Field(None, description="ours, for TLS (PEM, with its chain)")
    key_file: Path | None = Field(None, description="the key of certificate (PEM)")
    trusted: Path | None = Field(None, description="authorities of the senders' certificates (PEM)")
    limits: StowLimits = StowLimits()

    @model_validator(mode="after")
    def _guarded(self) -> Stow:
        if (self.certificate is None) != (self.key_file is None):
            raise ValueError("certificate and key_file belong together")
        if self.trusted and not self.certificate:
            raise ValueError("trusted needs certificate and key_file: without TLS nobody shows one")
        if not (self.token_file or self.trusted):
            raise ValueError("token_file or trusted is needed: nobody may send without a name")
        if not self.certificate and self.listen.rpartition(":")[0].strip("[]") not in _HERE:
            raise ValueError("without certificate and key_file it may listen on this machine only")
        return self

    @property
    def tls(self) -> Tls | None:
        """The same as the DICOM door's; None without a certificate."""
        if not (self.certificate and self.key_file):
            return None
        return Tls(
            listen=self.listen,
            certificate=self.certificate,
            key_file=self.key_file,
            trusted=self.trusted,
        )


class Intake(Part):
    accept_from: tuple[Peer, ...] | Literal["anyone"] = Field(
        description="who may send: a list of peers, or the word anyone"
    )
    limits: Limits = Limits()
    disk_reserve: Bytes = Field(5 * 2**30, ge=0, description="free space under which we refuse")
    on_conflict: Literal["keep_first", "keep_both", "refuse"] = Field(
        "keep_first", description="same SOP Instance UID, other bytes"
    )
    quarantine: bool = Field(True, description="keep refused bytes for a person")
    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "auto", description="that receive; auto: one a core, at least two"
    )
    log: Bytes = Field(
        256 * 2**20, ge=2**22, le=2**34, description="disk for what came in and is not filed yet"
    )
    tls: Tls | None = Field(None, description="a second port with TLS; absent: none")
    stow: Stow | None = Field(None, description="takes images by STOW-RS; absent: no such door")
    mllp: Mllp | None = Field(None, description="takes findings and final reports; absent: none")

    @model_validator(mode="after")
    def _certificates_can_be_asked_for(self) -> Intake:
        asks = self.tls is not None and self.tls.trusted is not None
        named = [] if isinstance(self.accept_from, str) else self.accept_from
        if any(peer.certificate for peer in named) and not asks:
            raise ValueError("accept_from names a certificate: set intake.tls.trusted, too")
        return self

    @model_validator(mode="after")
    def _bindings_bind(self) -> Intake:
        """Beside an entry that lets a title come from anywhere, one that binds it says nothing."""
        named = [] if isinstance(self.accept_from, str) else self.accept_from
        free = {peer.ae_title for peer in named if not (peer.host or peer.certificate)}
        bound = {peer.ae_title for peer in named if peer.host or peer.certificate}
        if void := sorted(free & bound):
            raise ValueError(
                f"accept_from binds {void[0]} and names it once more without host or certificate, "
                "which lets it come from anywhere: take one of the two out"
            )
        return self


class Settle(Part):
    quiet: Seconds = Field(10.0, gt=0, description="silence after which the study is complete")
    longest: Seconds = Field(120.0, gt=0, description="longest wait, whatever still arrives")
    expect: Expect | None = Field(None, description="ends the wait early")
    release: Seconds | None = Field(
        None, gt=0, description="silence that is enough once the sender released its association"
    )


class Expect(Part):
    instances: int = Field(ge=1, description="this many matching instances end the wait")


def _endpoint_url(value: str) -> str:
    found = urlsplit(value)
    secure = found.scheme == "https" or (found.scheme == "http" and found.hostname in _HERE)
    plain = not (found.username or found.password or found.fragment)
    if not (secure and plain and found.hostname):
        raise ValueError("write https://host:port/path; http only to this machine, no password")
    return value


class Endpoint(Part):
    url: Annotated[str, AfterValidator(_endpoint_url)] = Field(description="where images are sent")
    pixels: Literal["png", "npy"] = Field("png", description="16-bit grey PNG, or float32 npy")
    timeout: Wait = Field(30.0, description="longest wait for one answer")
    attempts: int = Field(3, ge=1, le=10, description="for one image, before the run fails")
    largest_request: Bytes = Field(64 * 2**20, ge=1024, description="longest image sent")
    largest_answer: Bytes = Field(2**20, ge=1024, description="longest answer taken")
    trusted: Path | None = Field(None, description="authorities in place of the system's (PEM)")
    token_file: Path | None = Field(None, description="holds a bearer token for the endpoint")


class Processor(Part):
    name: Name = Field(description="stands in logs, reports and file names")
    kind: Literal["vae_bundle", "monai_bundle", "torchxrayvision", "http_endpoint"] = Field(
        "vae_bundle", description="which kind of model"
    )
    bundle: str = Field(
        description="a shipped name or a path",
        min_length=1,
        json_schema_extra={"x-path": "unless a plain name"},
    )
    endpoint: Endpoint | None = Field(None, description="of an http_endpoint alone")
    when: dict[str, Any] = Field(description="rule over DICOM keywords, see the guide")
    settle: Settle = Field(Settle(), description="when a study is taken as complete")
    explain: Annotated[tuple[ExplainMethod, ...], AfterValidator(_once)] = Field(
        ("traversal",), description="methods of explanation, in the order of the reports"
    )
    mode: Literal["live", "shadow"] = Field("live", description="shadow: judged, sent nowhere")
    reports: Annotated[tuple[ReportKind, ...], AfterValidator(_once)] = Field(
        ALL_REPORTS, description="what a result becomes"
    )
    unsuitable: Annotated[tuple[Literal["text_report", "hl7_oru"], ...], AfterValidator(_once)] = (
        Field(("text_report",), description="what a refusal becomes; [] sends nothing")
    )
    send_to: Annotated[tuple[Name, ...], AfterValidator(_once)] = Field(
        (), description="names of destinations; each takes the kinds it can carry"
    )

    @model_validator(mode="after")
    def _endpoint_fits(self) -> Processor:
        if (self.kind == "http_endpoint") != (self.endpoint is not None):
            raise ValueError("kind http_endpoint and the key endpoint belong together")
        return self


class Reports(Part):
    strip: Literal["cine", "single_frames", "mosaic"] = Field(
        "cine", description="form of the strip, for viewers without cine"
    )
    issuer: Value | None = Field(
        None, description="assigning authority where the source names none"
    )


class Impressions(Part):
    """What becomes of findings that a radiologist wrote, and of the final report."""

    send_to: Annotated[tuple[Name, ...], AfterValidator(_once)] = Field(
        (), description="names of destinations of a draft"
    )
    reports: Annotated[tuple[Literal["text_report", "hl7_oru"], ...], AfterValidator(_once)] = (
        Field(("text_report", "hl7_oru"), description="what a draft becomes")
    )
    structured_reports: bool = Field(
        False, description="take findings and final reports that come as DICOM SR, too"
    )
    readers: Literal["hashed", "named", "none"] = Field(
        "hashed", description="how the reader of a final report is remembered"
    )
    model: str = Field(
        "builtin",
        min_length=1,
        description="what drafts of written findings come from: builtin, or a folder",
        json_schema_extra={"x-path": "unless a plain name"},
    )
    corpus: Path | None = Field(None, description="index of the site's own reports")
    patient_summary: bool = Field(
        False, description="plain words for the patient in text report and ORU"
    )


class Workers(Part):
    processes: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto", description="workers at once"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where models run")
    memory: Bytes = Field(
        2 * 2**30, ge=16 * 2**20, description="most that one pass of a network takes"
    )
    timeout: Wait = Field(120.0, description="longest run before its worker is killed")
    lease: Wait = Field(30.0, description="silence of a worker before its run is freed")
    max_attempts: int = Field(3, ge=1, le=10, description="then a run is set aside")


class DicomDestination(Part):
    kind: Literal["dicom"]
    ae_title: AETitle = Field(description="the peer's AE title")
    host: Host = Field(description="name or address")
    port: Port = 104
    give_up_after: Seconds = Field(3 * 86400.0, gt=0, description="end of the retries")
    timeout: Wait = Field(30.0, description="longest wait for one answer")
    commitment: bool = Field(False, description="ask the PACS to commit to what it stored")
    commitment_wait: Seconds = Field(
        600.0, gt=0, description="longest wait for its report before it is asked again"
    )
    keep_open: Seconds = Field(
        5.0,
        ge=0,
        le=_DAY,
        description="silence after which an association is released; 0s: at once",
    )


class MllpDestination(Part):
    kind: Literal["mllp"]
    host: Host = Field(description="name or address")
    port: Port = 2575
    application: Line = Field(min_length=1, max_length=180, description="MSH-5")
    facility: Line = Field(min_length=1, max_length=180, description="MSH-6")
    processing: Literal["P", "T", "D"] = Field("P", description="MSH-11")
    give_up_after: Seconds = Field(3 * 86400.0, gt=0, description="end of the retries")
    timeout: Wait = Field(30.0, description="longest wait for one ACK")
    ae_retries: int = Field(3, ge=0, le=20, description="retries after an AE, then held")


class FolderDestination(Part):
    kind: Literal["folder"]
    path: Path = Field(description="made if absent")
    give_up_after: Seconds = Field(3 * 86400.0, gt=0, description="end of the retries")


Destination = Annotated[
    DicomDestination | MllpDestination | FolderDestination, Field(discriminator="kind")
]


class Retention(Part):
    studies: Seconds = Field(7 * 86400.0, gt=0, description="received instances")
    reports: Seconds = Field(30 * 86400.0, gt=0, description="results and their reports")
    quarantine: Seconds = Field(90 * 86400.0, gt=0, description="refused bytes")
    messages: Seconds = Field(
        90 * 86400.0, gt=0, description="received reports and the texts beside their agreement"
    )


class Settings(Part):
    """The whole of node.yaml."""

    node: Node
    intake: Intake
    processors: tuple[Processor, ...] = Field(description="which model judges which study")
    reports: Reports = Reports()
    impressions: Impressions = Impressions()
    workers: Workers = Workers()
    destinations: dict[Name, Destination] = Field(default_factory=dict)
    retention: Retention = Retention()

    @property
    def takes_texts(self) -> bool:
        """Whether findings and final reports may arrive as messages or structured reports."""
        return self.intake.mllp is not None or self.impressions.structured_reports

    @property
    def runs_of(self) -> frozenset[str]:
        """The processors that a worker has, our own among them: what runs can be of."""
        own = OWN_PROCESSORS if self.takes_texts else frozenset()
        return own | {processor.name for processor in self.processors}

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        for processor in self.processors:
            for target in processor.send_to:
                if target not in self.destinations:
                    raise ValueError(f"processor {processor.name} sends to unknown {target!r}")
        for target in self.impressions.send_to:
            if target not in self.destinations:
                raise ValueError(f"impressions.send_to names unknown {target!r}")
        names = [processor.name for processor in self.processors]
        if len(set(names)) != len(names):
            raise ValueError("two processors have the same name")
        if own := sorted(OWN_PROCESSORS & set(names)):
            raise ValueError(f"the name {own[0]} is the node's own; choose another for a processor")
        return self


Settle.model_rebuild()
