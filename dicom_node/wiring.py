"""Builds processors from settings and says what becomes of their results.

With `dicom_node.rooms` (storage, destinations) the one place where rooms are joined.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import config.settings as cfg
from config import Settings
from dicom_node import logs, product, rooms
from dicom_node.drafts import Scribe
from dicom_node.endpoint import poster
from processors import Processor, ProcessorError, Status, kinds
from processors.bounded import Trouble
from reports import Options, Receiver, Report


class UnusableProcessor(ProcessorError):
    """A processor of node.yaml cannot be built; names the key, the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A processor with what its results become: options, kinds by status, destinations.

    mode: what node.yaml says now; "shadow" keeps back a run that was planned as live, too.
    """

    processor: Processor
    options: Options
    kinds: Callable[[Status], Sequence[str]]
    destinations: Callable[[Report], tuple[str, ...]]
    mode: str = "live"


@dataclass(frozen=True, slots=True)
class Judges:
    """The processors of this node by name, warm; scribe: who drafts from dictated findings."""

    processors: Mapping[str, Judge]
    scribe: Scribe | None = None

    def of(self, name: str) -> Judge:
        return self.processors[name]


def judges(settings: Settings, on_trouble: Trouble = lambda _: None) -> Judges:
    """Build and warm every processor; on_trouble hears of a device that is full or lost.

    Raises UnusableProcessor.
    """
    return Judges({p.name: _built(settings, p, on_trouble) for p in settings.processors})


def verify(settings: Settings, processor: cfg.Processor) -> None:
    """Build one processor on the CPU and drop it: what a start would raise, raised before it."""
    on_cpu = settings.workers.model_copy(update={"device": "cpu"})
    _built(settings.model_copy(update={"workers": on_cpu}), processor, lambda _: None)


def options(settings: Settings, processor: cfg.Processor) -> Options:
    """What this processor's reports look like; the digest covers all that shapes them."""
    shape: list[object] = [
        processor.model_dump(mode="json", include={"explain", "bundle", "kind"}),
    ]
    if processor.endpoint:
        shape.append(processor.endpoint.url)
    return _options(settings, processor.send_to, shape)


def scribe(settings: Settings) -> Scribe:
    """Who drafts from dictated findings, and what becomes of a draft. Raises UnusableProcessor."""
    # 100 MB of LightGBM and scikit-learn, which a node without dictated texts never needs
    from processors.impressions import drafter
    from processors.impressions.language_model import open_language_model

    wanted = settings.impressions
    try:
        sources = [] if wanted.model == "builtin" else [open_language_model(Path(wanted.model))]
        drafts_them = drafter.open_drafter(wanted.corpus, sources)
        algorithm = drafter.algorithm(wanted.corpus)
    except ProcessorError as error:
        raise UnusableProcessor(f"impressions: {error}") from error
    except OSError as error:
        raise UnusableProcessor(f"impressions: {_unreadable(error)}") from error
    key = rooms.audit_key(settings)
    readers: dict[str, Callable[[str], str]] = {
        "hashed": lambda name: logs.hashed(key, name),
        "named": lambda name: name,
        "none": lambda _name: "",
    }
    return Scribe(
        drafter=drafts_them,
        algorithm=algorithm,
        options=_options(settings, wanted.send_to, [wanted.model_dump(mode="json")]),
        kinds=wanted.reports,
        destinations=lambda report: _fitting(settings, wanted.send_to, report),
        processing=settings.intake.mllp.processing if settings.intake.mllp else "P",
        name_of_reader=readers[wanted.readers],
        patient_summary=wanted.patient_summary,
    )


def _options(settings: Settings, send_to: Sequence[str], shape: Sequence[object]) -> Options:
    receivers = tuple(
        Receiver(name, peer.application, peer.facility, peer.processing)
        for name in send_to
        if isinstance(peer := settings.destinations[name], cfg.MllpDestination)
    )
    whole = [
        settings.node.language,
        settings.node.label,
        settings.reports.model_dump(mode="json"),
        *shape,
    ]
    return Options(
        language=settings.node.language,
        label=settings.node.label,
        strip=settings.reports.strip,
        node=settings.node.name,
        ae_title=settings.node.ae_title,
        version=product.VERSION,
        issuer=settings.reports.issuer,
        receivers=receivers,
        config_digest=hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest(),
    )


def bundle_of(processor: cfg.Processor) -> str:
    """What `open_bundle` takes: a shipped name, or a path."""
    return processor.bundle if "/" not in processor.bundle else str(Path(processor.bundle))


def _built(settings: Settings, processor: cfg.Processor, on_trouble: Trouble) -> Judge:
    try:
        return _judge(settings, processor, on_trouble)
    except ProcessorError as error:
        raise UnusableProcessor(f"processors.{processor.name}.bundle: {error}") from error
    except OSError as error:
        place = f"processors.{processor.name}.bundle"
        raise UnusableProcessor(f"{place}: {_unreadable(error)}") from error


def _unreadable(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}."


def build(settings: Settings, processor: cfg.Processor, on_trouble: Trouble) -> Processor:
    """The model of one processor, ready. Raises processors.ProcessorError."""
    endpoint = processor.endpoint
    wanted = kinds.Wanted(
        name=processor.name,
        bundle=bundle_of(processor),
        language=settings.node.language,
        device=settings.workers.device,
        memory=settings.workers.memory,
        on_trouble=on_trouble,
        explain=processor.explain,
        post=poster(endpoint) if endpoint else None,
        pixels=endpoint.pixels if endpoint else "png",
        patient_summary=settings.impressions.patient_summary,
    )
    return kinds.build(processor.kind, wanted)


def _judge(settings: Settings, processor: cfg.Processor, on_trouble: Trouble) -> Judge:
    return Judge(
        processor=build(settings, processor, on_trouble),
        options=options(settings, processor),
        kinds=lambda status: (
            processor.unsuitable if status is Status.UNSUITABLE else processor.reports
        ),
        destinations=lambda report: targets(settings, processor, report),
        mode=processor.mode,
    )


def targets(settings: Settings, processor: cfg.Processor, report: Report) -> tuple[str, ...]:
    """Which of the processor's destinations take a report: each the kinds it can carry."""
    return _fitting(settings, processor.send_to, report)


def _fitting(settings: Settings, send_to: Sequence[str], report: Report) -> tuple[str, ...]:
    found = []
    for name in send_to:
        kind = settings.destinations[name].kind
        if report.kind == "hl7_oru":
            fits = report.destination == name or (kind == "folder" and report.index == 0)
        else:
            fits = kind in ("dicom", "folder")
        if fits:
            found.append(name)
    return tuple(found)
