"""The checks, one function each: it returns what was found, or says what is wrong.

The first asks in a process of its own, with a time limit, whether the model comes back at all; the
others run here, and only if it did.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import numpy as np

from processors.adapters.words import NO_EXPLANATION
from processors.analysis import (
    Analysis,
    BundleError,
    ModelOutputNotFinite,
    ProcessorError,
    Status,
)
from processors.conformance import spoiled
from processors.conformance.subject import Subject, changed, picture_study, series_study
from processors.runtime import PickleWeights, WeightsCorrupt, WeightsShape

LIMIT = 120.0  # seconds; the default of workers.timeout


class Failed(Exception):
    """A check that did not pass; says why and what to do."""


class Skipped(Exception):
    """A check that has nothing to look at; says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one check ended. said: what was found."""

    name: str
    title: str
    state: Literal["passed", "failed", "skipped"]
    said: str


@dataclass(frozen=True, slots=True)
class Check:
    """name: stable word; title: what must hold."""

    name: str
    title: str
    ask: Callable[[Subject], str]


def passed(verdicts: Sequence[Verdict]) -> bool:
    return all(one.state != "failed" for one in verdicts)


def run(subject: Subject, limit: float = LIMIT) -> list[Verdict]:
    """All checks in order. limit: seconds that one study may take, starting included."""
    first = _asked(Check("returns", RETURNS, lambda one: _returns(one, limit)), subject)
    if first.state == "failed":
        skipped = "the model did not answer"
        return [first, *(Verdict(c.name, c.title, "skipped", skipped) for c in CHECKS[1:])]
    return [first, *(_asked(check, subject) for check in CHECKS[1:])]


def _asked(check: Check, subject: Subject) -> Verdict:
    try:
        return Verdict(check.name, check.title, "passed", check.ask(subject))
    except (Skipped, spoiled.NothingToSpoil) as why:
        return Verdict(check.name, check.title, "skipped", str(why))
    except Failed as why:
        return Verdict(check.name, check.title, "failed", str(why))
    except ProcessorError as error:
        return Verdict(check.name, check.title, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - a bug of the model's is a finding
        said = f"raises {type(error).__name__}, which is no ProcessorError: {error}"
        return Verdict(check.name, check.title, "failed", said)


def _returns(subject: Subject, limit: float) -> str:
    if subject.kind == "http_endpoint":
        raise Skipped("the time of an endpoint is bounded by endpoint.timeout")
    words = [sys.executable, "-m", "processors.conformance", subject.kind, subject.wanted.bundle]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(
            f"did not come back within {limit:g} s and was ended from outside; a node does the "
            "same after workers.timeout and sets the run aside"
        ) from error
    if done.returncode < 0:
        raise Failed(f"ended its process with signal {-done.returncode}")
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "ended")
    return done.stdout.strip()


def _analysed(subject: Subject) -> Analysis:
    analysis = subject.build().analyse(subject.example)
    if analysis.status is not Status.COMPLETED:
        raise Failed(f"a study as the card describes it ends {analysis.status}: {analysis.reason}")
    return analysis


def _opens(subject: Subject) -> str:
    algorithm = subject.build().algorithm
    return f"{algorithm.name} {algorithm.version}, weights {algorithm.weights[:19]}"


def _accepts(subject: Subject) -> str:
    study = subject.example
    header = study.instances[0].header
    return f"{len(study.instances)} {header.Modality} of {header.Columns} x {header.Rows}"


def _repeats(subject: Subject) -> str:
    one, other = (replace(_analysed(subject), timings_ms={}) for _ in range(2))
    if difference := _difference(one, other, "analysis"):
        raise Failed(f"the same study gave another {difference} the second time")
    return f"{len(one.findings)} findings, twice the same"


def _difference(one: Any, other: Any, place: str) -> str:
    """Where two analyses differ; empty where they do not."""
    if is_dataclass(one) and not isinstance(one, type):
        pairs = [(getattr(one, f.name), getattr(other, f.name), f.name) for f in fields(one)]
    elif isinstance(one, dict):
        pairs = [(one[key], other.get(key), f"{place} {key}") for key in one]
    elif isinstance(one, tuple) and len(one) == len(other):
        pairs = [(a, b, f"{place} {n}") for n, (a, b) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, np.ndarray):
        return "" if np.array_equal(one, other) else place
    else:
        return "" if one == other else place
    return next((found for a, b, name in pairs if (found := _difference(a, b, name))), "")


def _in_range(subject: Subject) -> str:
    analysis, study = _analysed(subject), subject.example
    known = {one.uid for one in study.instances}
    if {f.label for f in analysis.findings} != set(subject.labels):
        raise Failed("the findings are not the card's labels")
    for finding in analysis.findings:
        low, high = finding.band
        if not low <= finding.threshold <= high:
            raise Failed(f"the band of {finding.label} does not hold its threshold")
        if finding.instance_uid not in known:
            raise Failed(f"{finding.label} is found on an image that is not of the study")
        for region in finding.regions:
            header = study.header(region.instance_uid)
            xs, ys = zip(*region.points, strict=True)
            if min(*xs, *ys) < 0 or max(xs) > header.Columns or max(ys) > header.Rows:
                raise Failed(f"an outline of {finding.label} lies outside its image")
    for mask in analysis.masks:
        for uid, plane in mask.planes.items():
            header = study.header(uid)
            if plane.shape != (header.Rows, header.Columns):
                raise Failed(f"the mask of {mask.label} is not on the grid of its image")
    said = [f"{f.label} {f.probability:.3f} {f.state}" for f in analysis.findings]
    return "; ".join(said[:6]) + ("; ..." if len(said) > 6 else "")


def _explains(subject: Subject) -> str:
    analysis = _analysed(subject)
    if subject.kind in NO_EXPLANATION:
        if not set(NO_EXPLANATION[subject.kind]) & set(analysis.notes):
            raise Failed("no note says that this kind of model gives no explanation")
        return "says that none is available"
    silent = [one.finding for one in analysis.explanations if not one.shown and not one.reason]
    if silent:
        raise Failed(f"the explanation of {silent[0]} is withheld without a reason")
    return f"{len(analysis.explanations)} explanations, each with its checks"


def _refusing(kind: str, spoil: Callable[[Subject], Any]) -> Callable[[Subject], str]:
    def ask(subject: Subject) -> str:
        study = spoil(subject)
        processor = subject.build()
        refusal = processor.accepts(study)
        if refusal is None:
            raise Failed("was accepted")
        if refusal.kind != kind:
            raise Failed(f"was refused as {refusal.kind} and not as {kind}: {refusal.reason}")
        if processor.analyse(study).status is not Status.UNSUITABLE:
            raise Failed("is refused by accepts and judged by analyse")
        return refusal.reason

    return ask


def _blank(subject: Subject) -> Any:
    said = subject.header()
    if len(subject.example.instances) > 1:
        return series_study(said, blank=True)
    return picture_study(np.zeros((512, 512), np.float32), said)


def _localizer(subject: Subject) -> Any:
    if subject.header()["Modality"] not in ("CT", "MR"):
        raise Skipped("this modality has no localizers")
    return changed(subject.example, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def _old(subject: Subject) -> Any:
    """An age outside the card's, if there is one."""
    gate = (subject.card.get("gate") or {}) if subject.kind != "vae_bundle" else {}
    allowed = gate.get("populations") or []
    outside = [years for years in range(121) if not any(a <= years <= b for a, b in allowed)]
    if not allowed or not outside:
        raise Skipped("the card allows every age, or leaves them to its organ")
    years = next((one for one in outside if one), 0)
    return changed(subject.example, PatientAge=f"{years:03d}Y" if years else "006M")


def _raising(
    error: type[BundleError] | type[ProcessorError],
    change: Callable[[Any, str], None],
    sealed: bool = True,
) -> Callable[[Subject], str]:
    def ask(subject: Subject) -> str:
        study = subject.example
        with spoiled.copy(subject, change, sealed) as copy:
            try:
                copy.build().analyse(study)
            except error as why:
                return f"{type(why).__name__}: {why}"
            except ProcessorError as why:
                raise Failed(f"gives {type(why).__name__}, not {error.__name__}: {why}") from why
        raise Failed("was taken")

    return ask


RETURNS = "One study comes back in time, in a process of its own"
CHECKS: tuple[Check, ...] = (
    Check("returns", RETURNS, lambda subject: _returns(subject, LIMIT)),
    Check("opens", "The bundle opens, each file equal to its checksum", _opens),
    Check("accepts", "A study as the card describes it is accepted", _accepts),
    Check("repeats", "The same study gives the same analysis", _repeats),
    Check("in-range", "Findings, outlines and masks are what the contract says", _in_range),
    Check("explains", "Why, or that nobody can say why", _explains),
    Check("refuses-blank", "A blank image is refused", _refusing("blank", _blank)),
    Check(
        "refuses-modality",
        "Another modality is refused",
        _refusing("modality", lambda subject: changed(subject.example, Modality="PT")),
    ),
    Check(
        "refuses-size",
        "An image of a few pixels is refused",
        _refusing("resolution", lambda subject: changed(subject.example, Rows=8, Columns=8)),
    ),
    Check(
        "refuses-frames",
        "An image of several frames is refused",
        _refusing("frames", lambda subject: changed(subject.example, NumberOfFrames=5)),
    ),
    Check("refuses-localizer", "A localizer is refused", _refusing("localizer", _localizer)),
    Check("refuses-age", "An age outside the card's is refused", _refusing("age", _old)),
    Check(
        "altered",
        "A changed byte refuses the start",
        _raising(WeightsCorrupt, spoiled.flip_a_byte, sealed=False),
    ),
    Check("pickle", "A pickle refuses the start", _raising(PickleWeights, spoiled.add_a_pickle)),
    Check(
        "pickled-weights",
        "Weights that need code to be read refuse the start",
        _raising(PickleWeights, spoiled.pickle_of_code),
    ),
    Check(
        "input-size",
        "A card that states another input refuses the start",
        _raising(WeightsShape, spoiled.other_input),
    ),
    Check(
        "not-finite",
        "Weights that are no numbers make no finding",
        _raising(ModelOutputNotFinite, spoiled.not_a_number),
    ),
)
