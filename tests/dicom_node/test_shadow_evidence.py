"""The figures of a shadow report: what is counted, what is left out, what speaks against it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from scipy.stats import beta

from dicom_node.shadow.cases import Case, Stated
from dicom_node.shadow.cases import case as read_case
from dicom_node.shadow.evidence import Evidence, assemble
from dicom_node.shadow.figures import difference, share, spread
from dicom_node.shadow.page import page
from dicom_node.shadow.promotion import objections
from dicom_node.shadow.reference import Reading, ReferenceFault, parse
from dicom_node.shadow.telling import WORDS, sections, share_text
from processors import State
from processors.analysis import Algorithm
from storage import EndedRun, Run, RunState

PRESENT, ABSENT, UNDETERMINED = State.PRESENT, State.ABSENT, State.UNDETERMINED
MONDAY = date(2026, 3, 2)


def case(number: int, state: State | None = ABSENT, **more: object) -> Case:
    """A study of number `number`; state None: refused."""
    stated = (Stated("pneumonia", "SCT:233604007", state),) if state else ()
    values = {
        "study_uid": f"1.2.{number}",
        "accession": f"A{number}",
        "run": number,
        "mode": "shadow",
        "day": MONDAY,
        "status": "completed" if state else "unsuitable",
        "kind": "" if state else "view",
        "seconds": 1.0,
        "weights": "ab" * 32,
        "version": "1",
        "stated": stated,
        "timings_ms": {"analyse": 100.0 * number},
        "strata": {},
    }
    return Case(**{**values, **more})


def many(states: list[State | None], **more: object) -> list[Case]:
    return [case(number, state, **more) for number, state in enumerate(states, 1)]


def concerns(evidence: Evidence) -> set[str]:
    return {one.kind for one in evidence.concerns}


# ---- figures ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("count", "n"), [(0, 5), (3, 30), (30, 30), (17, 200)])
def test_a_share_has_the_exact_interval(count: int, n: int) -> None:
    found = share([True] * count + [False] * (n - count))
    low = beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    assert (found.count, found.n, found.value) == (count, n, round(count / n, 4))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.enough is (n >= 30)


def test_a_share_of_nothing_is_no_figure() -> None:
    assert share([]).value is None
    assert share_text(share([]), "es") == "ninguno"


def test_a_difference_is_newcombe_s() -> None:
    """The worked example of Newcombe 1998, table II(a): 56/70 less 48/80."""
    found = difference(share([True] * 56 + [False] * 14), share([True] * 48 + [False] * 32))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)
    assert found.clear


def test_spread_of_times() -> None:
    found = spread([float(n) for n in range(1, 102)])
    assert found is not None
    assert (found.median, found.p95, found.low, found.high) == (51.0, 96.0, 1.0, 101.0)


# ---- what is counted --------------------------------------------------------------------------
def test_alerts_are_counted_by_day_and_a_quiet_day_counts_too() -> None:
    later = MONDAY + timedelta(days=2)
    found = assemble(
        "next", [case(1, PRESENT), case(2), case(3, None), case(4, PRESENT, day=later)], {}
    )
    assert [(one.studies, one.judged, one.alerts) for one in found.days] == [
        (3, 2, 1), (0, 0, 0), (1, 1, 1),
    ]  # fmt: skip
    assert found.alerts is not None
    assert found.alerts.mean == 0.67


def test_an_organ_that_is_there_is_no_alert() -> None:
    spleen = Stated("spleen", "", PRESENT)
    found = assemble("next", [case(1, stated=(spleen,), anatomy=frozenset({"spleen"}))], {})
    assert [(one.judged, one.alerts) for one in found.days] == [(1, 0)]
    assert found.present["spleen"].count == 1


def test_refusals_are_told_by_kind_and_failures_by_reason() -> None:
    failed = case(9, None, status="failed", kind="", reason="Pixels cannot be read.")
    found = assemble("next", [*many([None, None, ABSENT]), failed], {})
    assert found.reasons == {
        "unsuitable": {"view": 2},
        "failed": {"Pixels cannot be read.": 1},
    }
    assert (found.endings["unsuitable"].count, found.endings["unsuitable"].n) == (2, 4)
    assert "broken" in concerns(found)


def test_only_runs_of_the_newest_weights_count() -> None:
    old = many([PRESENT] * 3, weights="cd" * 32)
    new = [case(10, ABSENT), case(11, ABSENT)]
    gone = case(12, ABSENT, weights="", version="", stated=())
    found = assemble("next", [*old, *new, gone], {})
    assert (found.studies, found.other_weights, found.forgotten) == (2, 3, 1)
    assert {"other_weights", "forgotten"} <= concerns(found)


@pytest.mark.parametrize(
    ("readings", "positives", "negatives", "ambiguous"),
    [
        ([("1.2.1", "pneumonia", True), ("A1", "pneumonia", True)], 1, 0, 0),
        ([("1.2.1", "pneumonia", True), ("1.2.1", "233604007", True)], 1, 0, 0),
        ([("1.2.1", "pneumonia", True), ("A1", "233604007", False)], 0, 0, 2),
        ([("1.2.1", "pneumonia", True), ("A2", "pneumonia", False)], 1, 1, 0),
    ],
    ids=["by UID and number", "by label and code", "contradicting", "of two studies"],
)
def test_a_reading_counts_once_however_it_is_named(
    readings: list[tuple[str, str, bool]], positives: int, negatives: int, ambiguous: int
) -> None:
    found = assemble("next", many([PRESENT, ABSENT]), {}, [Reading(*one) for one in readings])
    assert found.reference is not None
    counts = [(one.sensitivity.n, one.specificity.n) for one in found.reference.labels]
    assert counts == ([(positives, negatives)] if positives or negatives else [])
    assert (found.reference.readings, found.reference.ambiguous) == (len(readings), ambiguous)


def test_another_version_of_the_same_weights_is_another_model() -> None:
    """A card with other thresholds: what it called present counts no more."""
    old = many([PRESENT] * 3, version="1")
    new = [case(10, ABSENT, version="2"), case(11, None, version="2")]
    found = assemble("next", [*old, *new], {})
    assert (found.version, found.studies, found.other_weights) == ("2", 2, 3)


def test_a_remote_model_is_known_by_its_version_and_never_forgotten_for_it() -> None:
    """Its weights nobody knows; a refusal has the version of the card."""
    cases = [
        case(1, PRESENT, weights="", version="2.0"),
        case(2, None, weights="", version="card"),
        case(3, ABSENT, weights="", version="2.1"),
        case(4, ABSENT, weights="", version="2.1"),
        case(5, None, weights="", version="card"),
    ]
    found = assemble("next", cases, {})
    assert (found.version, found.weights, found.forgotten) == ("2.1", "", 0)
    assert (found.studies, found.judged, found.other_weights) == (4, 2, 1)


@pytest.mark.parametrize(
    ("states", "against"),
    [([ABSENT, None], ()), ([None, None], ("far has no run in shadow with a result",))],
    ids=["results", "refusals"],
)
def test_a_remote_model_is_promoted_on_its_results(
    states: list[State | None], against: tuple[str, ...]
) -> None:
    found = assemble("far", many(states, weights="", version="2.1"), {})
    assert objections(found, Algorithm("remote", "declared", "")) == against


def test_agreement_is_of_states_on_findings_in_common() -> None:
    ours = many([PRESENT, PRESENT, ABSENT, UNDETERMINED, None])
    theirs = many([PRESENT, ABSENT, ABSENT, PRESENT, PRESENT], mode="live")
    (peer,) = assemble("next", ours, {"chest": theirs}).peers
    assert (peer.shared, peer.whole.count) == (4, 2)
    assert peer.labels[0].pairs == {
        "absent/absent": 1, "present/absent": 1, "present/present": 1, "undetermined/present": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(Stated("neumonía", "SCT:233604007", PRESENT), True, id="by code"),
        pytest.param(Stated("Pneumonia", "", PRESENT), True, id="by label, one without a code"),
        pytest.param(Stated("pneumonia", "SCT:1", PRESENT), False, id="another code"),
        pytest.param(Stated("nodule", "", PRESENT), False, id="another label"),
    ],
)
def test_what_two_processors_have_in_common(other: Stated, same: bool) -> None:
    assert Stated("pneumonia", "SCT:233604007", PRESENT).means(other) is same


def test_undetermined_is_right_for_neither_truth() -> None:
    cases = many([PRESENT, UNDETERMINED, ABSENT, ABSENT, UNDETERMINED, PRESENT, None])
    truth = [True, True, True, False, False, False, True]
    readings = [Reading(f"A{n}", "Pneumonia", one) for n, one in enumerate(truth, 1)]
    found = assemble("next", cases, {}, readings).reference
    assert found is not None
    (label,) = found.labels
    assert (label.sensitivity.count, label.sensitivity.n) == (1, 3)
    assert (label.specificity.count, label.specificity.n) == (1, 3)
    assert (label.undetermined, label.not_judged) == (2, 1)


def test_a_reading_finds_its_study_by_uid_or_accession_and_never_two() -> None:
    cases = [case(1), case(2, accession="A1"), case(3)]
    readings = [
        Reading("1.2.3", "233604007", False),
        Reading("A1", "pneumonia", True),
        Reading("A99", "pneumonia", True),
        Reading("A3", "fracture", True),
    ]
    found = assemble("next", cases, {}, readings).reference
    assert found is not None
    assert (found.unknown, found.ambiguous) == (2, 1)
    assert found.labels[0].specificity.count == 1


@pytest.mark.parametrize("label", ["pneumonia", "233604007", "Pneumonia", "Neumonía", "NEUMONÍA"])
def test_a_reading_may_call_a_finding_as_the_reports_do(label: str) -> None:
    code = {"value": "233604007", "scheme": "SCT", "meaning": "Pneumonia"}
    finding = {"label": "pneumonia", "code": code, "state": "present"}
    at = datetime(2026, 3, 2, tzinfo=UTC)
    run = Run(
        1, "1.2.3", "next", "", "shadow", RunState.COMPLETED, (), 1, "", 0, "", at, at, at, None
    )  # fmt: skip
    stated = read_case(EndedRun(run, "A3", {"findings": [finding]})).stated
    cases = [case(3, PRESENT, stated=stated)]
    found = assemble("next", cases, {}, [Reading("1.2.3", label, True)]).reference
    assert found is not None
    assert (found.unknown, found.labels[0].sensitivity.count) == (0, 1)


def test_a_group_is_compared_with_all_others() -> None:
    women = many([PRESENT] * 30 + [ABSENT] * 10, strata={"sex": "F"})
    men = [case(n, ABSENT, strata={"sex": "M"}) for n in range(100, 140)]
    found = assemble("next", [*women, *men], {})
    gaps = {(one.measure, one.group): one for one in found.gaps if one.variable == "sex"}
    gap = gaps["alert", "F"]
    assert (gap.inside.value, gap.rest.value) == (0.75, 0.0)
    assert gap.difference is not None
    assert gap.difference.clear
    assert gap in {one.gap for one in found.concerns}
    assert ("alert", "M") not in gaps


def test_a_gap_between_few_is_no_concern() -> None:
    women = many([PRESENT] * 10, strata={"sex": "F"})
    men = [case(n, ABSENT, strata={"sex": "M"}) for n in range(100, 110)]
    found = assemble("next", [*women, *men], {})
    assert any(one.difference and one.difference.clear for one in found.gaps)
    assert "gap" not in concerns(found)


# ---- what speaks against it -------------------------------------------------------------------
FEW = many([PRESENT, ABSENT])
ENOUGH = many([PRESENT, ABSENT] * 30)
READ = [Reading(one.study_uid, "pneumonia", one.alerts) for one in ENOUGH]


@pytest.mark.parametrize(
    ("cases", "live", "readings", "said"),
    [
        pytest.param([], {}, [], {"few_studies", "no_truth"}, id="nothing"),
        pytest.param(FEW, {}, [], {"few_studies", "no_truth"}, id="few, alone"),
        pytest.param(ENOUGH, {}, [], {"no_truth"}, id="enough, alone"),
        pytest.param(
            ENOUGH, {"chest": FEW}, [], {"few_shared", "no_reference"}, id="few in common"
        ),
        pytest.param(ENOUGH, {"chest": ENOUGH}, [], {"no_reference"}, id="agreement alone"),
        pytest.param(ENOUGH, {}, READ[:6], {"few_positive", "few_negative"}, id="few readings"),
        pytest.param(ENOUGH, {}, READ, set(), id="enough readings"),
    ],
)
def test_what_is_too_little_is_said(cases, live, readings, said) -> None:
    assert concerns(assemble("next", cases, live, readings)) == said


@pytest.mark.parametrize("language", ["en", "es"])
def test_small_numbers_are_called_too_few_in_their_cell(language: str) -> None:
    told = sections(assemble("next", FEW, {"chest": FEW}, READ[:2]), language)
    few = WORDS[language]["few"].format(few=30)
    shares = [cell for one in told for row in one.rows for cell in row if "[" in cell]
    assert shares
    assert all(few in cell for cell in shares)


def test_both_languages_say_the_same_things() -> None:
    assert set(WORDS["en"]) == set(WORDS["es"])


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_processor_that_was_never_in_shadow_has_a_page_that_says_so(language: str) -> None:
    shown = page(assemble("next", [], {}), language)
    assert WORDS[language]["nothing"].format(processor="next") in shown
    assert "<svg" not in shown


def test_the_same_evidence_has_the_same_digest() -> None:
    one, other = (assemble("next", cases, {}) for cases in (ENOUGH, list(reversed(ENOUGH))))
    assert one.sha256 == other.sha256
    assert one.sha256 != assemble("next", FEW, {}).sha256


# ---- readings ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("label,present\nx,1", "line 1", id="no study"),
        pytest.param("study,label,present\n1,pneumonia,yes", "line 2: present is 0 or 1", id="yes"),
        pytest.param("study,label,present\n,pneumonia,1", "line 2: study", id="empty"),
        pytest.param(
            "study,label,present\n1,pneumonia,1\n1,Pneumonia,0", "line 3: contradicts", id="twice"
        ),
        pytest.param("study,label,present\n", "no reading", id="nothing"),
        pytest.param("", "line 1", id="empty file"),
    ],
)
def test_readings_that_cannot_be_used_are_named(text: str, said: str) -> None:
    with pytest.raises(ReferenceFault, match=said):
        parse(text.splitlines())


@pytest.mark.parametrize("mark", [",", ";"])
def test_readings_are_read(mark: str) -> None:
    lines = [mark.join(row) for row in (("Accession", "label", "present"), ("A1", "x", "1"))]
    assert parse(lines) == (Reading("A1", "x", True),)
