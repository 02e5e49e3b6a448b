"""The processor's contract: the same study gives the same analysis, each finding its reason."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from processors.analysis import (
    Analysis,
    Finding,
    Instance,
    ModelOutputNotFinite,
    Processor,
    State,
    Status,
    Study,
)
from processors.explain import MethodNotInstalled, method
from processors.explain.field import FIELDS
from processors.explain.subject import Scale, read_film
from processors.runtime import SHIPPED, Bundle, WeightsShape, open_bundle
from processors.vae.processor import (
    MOST_EXPLAINED,
    VaeBundleProcessor,
    _Answer,
    _chosen,
    _contradicts,
    _Judged,
    without_timings,
)
from reports.content import pictures


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    return open_bundle(str(tiny_folder), "cpu")


DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"


def _film(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    film = (generator.random((120, 100)) * 0.5).astype(np.float32)
    film[40:80, 25:50] += 0.4
    return film


def _header(uid: str, age: str) -> Dataset:
    header = Dataset()
    header.SOPInstanceUID, header.Modality, header.PatientAge = uid, "DX", age
    header.BodyPartExamined, header.ViewPosition = "CHEST", "AP"
    header.SOPClassUID, header.Rows, header.Columns = DIGITAL_X_RAY, 120, 100
    header.PhotometricInterpretation = "MONOCHROME2"
    return header


def _study(age: str = "003Y", films: int = 1, view: str = "AP") -> Study:
    headers = [_header(f"1.2.{i}", age) for i in range(films)]
    for header in headers:
        header.ViewPosition = view
    instances = tuple(Instance(str(h.SOPInstanceUID), h) for h in headers)
    return Study("1.2", instances, lambda uid, _: _film(int(uid[-1])))


def _banded(bundle: Bundle, low: float, high: float) -> Bundle:
    """The bundle with every band moved, so that each state can be asked for."""
    return _answering(bundle, {"band": [low, high], "threshold": (low + high) / 2})


def _answering(bundle: Bundle, *changes: dict[str, object]) -> Bundle:
    """The bundle with the answer of each question changed, by the same or each by its own."""
    questions = bundle.card["questions"]
    per_question = changes * len(questions) if len(changes) == 1 else changes
    changed = [
        {**q, "answers": [{**a, **change} for a in q["answers"]]}
        for q, change in zip(questions, per_question, strict=True)
    ]
    card = {**bundle.card, "questions": changed}
    return replace(bundle, metadata={**bundle.metadata, "dictamen": card})


BANDS = {
    State.PRESENT: (0.0, 0.0),
    State.ABSENT: (1.0, 1.0),
    State.UNDETERMINED: (0.0, 1.0),
}


def _only(analysis: Analysis) -> Finding:
    assert len(analysis.findings) == 1
    return analysis.findings[0]


def test_it_is_a_processor(bundle: Bundle) -> None:
    processor: Processor = VaeBundleProcessor("chest", bundle, "es")
    assert processor.name == "chest"
    assert processor.algorithm == bundle.algorithm
    assert processor.accepts(_study()) is None


@pytest.mark.parametrize("state", list(BANDS), ids=str)
def test_each_state_has_what_it_needs(bundle: Bundle, state: State) -> None:
    analysis = VaeBundleProcessor("chest", _banded(bundle, *BANDS[state]), "en").analyse(_study())
    finding = _only(analysis)
    assert analysis.status is Status.COMPLETED
    assert finding.state is state
    assert finding.code is not None
    assert finding.code.value == "233604007"
    assert finding.site is not None
    assert bool(finding.regions) == (state is not State.ABSENT)
    assert len(analysis.explanations) == (state is not State.ABSENT)
    assert analysis.impression is not None
    assert "pneumonia" in analysis.impression.text
    assert set(analysis.timings_ms) == {"gate", "inference", "explanation"}


def test_regions_lie_on_the_stored_grid(bundle: Bundle) -> None:
    finding = _only(VaeBundleProcessor("chest", _banded(bundle, 0.0, 0.0), "en").analyse(_study()))
    for region in finding.regions:
        points = np.array(region.points)
        assert len(points) >= 7
        assert (points[0] == points[-1]).all()
        assert (points >= 0).all()
        assert (points <= [100, 120]).all()
        assert region.instance_uid == "1.2.0"


def test_the_strip_has_seven_judged_frames(bundle: Bundle) -> None:
    analysis = VaeBundleProcessor("chest", _banded(bundle, 0.0, 0.0), "en").analyse(_study())
    (explanation,) = analysis.explanations
    assert [round(f.alpha, 2) for f in explanation.frames] == [-1, -0.67, -0.33, 0, 0.33, 0.67, 1]
    assert explanation.frames[0].pixels.shape == (120, 100)
    original = np.rint(_film(0).clip(0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(explanation.frames[3].pixels, original)
    assert explanation.difference is not None
    assert explanation.difference.shape == (120, 100)
    assert np.isfinite(explanation.difference).all()


def test_a_failed_check_withholds_the_strip(bundle: Bundle) -> None:
    analysis = VaeBundleProcessor("chest", _banded(bundle, 0.0, 0.0), "en").analyse(_study())
    (explanation,) = analysis.explanations
    failed = [check for check in explanation.faithfulness if not check.passed]
    assert [c.name for c in failed][:1] == ["last_frame_probability"]  # nothing is below zero
    assert not explanation.shown
    assert "last frame" in explanation.reason


@pytest.mark.parametrize("found", [True, False], ids=["lungs found", "no lungs found"])
def test_evidence_outside_the_organ_is_neither_drawn_nor_explained(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """The organ is a corner without evidence (the head is silent there), or is not found."""
    corner = np.zeros((32, 32), bool)
    corner[:8, :8] = True
    monkeypatch.setitem(FIELDS, "lung", lambda _: corner if found else None)
    present = _banded(bundle, 0.0, 0.0)
    card = {**present.card, "field": "lung"}
    placed = replace(present, metadata={**present.metadata, "dictamen": card})
    analysis = VaeBundleProcessor("chest", placed, "en").analyse(_study())
    assert _only(analysis).state is State.PRESENT
    assert _only(analysis).regions == ()
    (explanation,) = analysis.explanations
    assert not explanation.shown
    assert "outside the organ" in explanation.reason


def test_a_bundle_without_donors_shows_no_strip(bundle: Bundle) -> None:
    bare = {k: v[:0] if k.startswith("latents_") else v for k, v in bundle.donors.items()}
    processor = VaeBundleProcessor("chest", replace(_banded(bundle, 0, 0), donors=bare), "en")
    (explanation,) = processor.analyse(_study()).explanations
    assert not explanation.shown
    assert explanation.frames == ()
    assert "averages" in explanation.reason


@pytest.mark.parametrize("band", BANDS.values(), ids=str)
def test_same_study_same_analysis(bundle: Bundle, band: tuple[float, float]) -> None:
    moved = _banded(bundle, *band)
    first, second = (
        without_timings(VaeBundleProcessor("chest", moved, "es").analyse(_study(films=2)))
        for _ in range(2)
    )
    assert first.findings == second.findings
    assert first.impression == second.impression
    for one, other in zip(first.explanations, second.explanations, strict=True):
        assert one.faithfulness == other.faithfulness
        np.testing.assert_array_equal(one.difference, other.difference)
        for left, right in zip(one.frames, other.frames, strict=True):
            np.testing.assert_array_equal(left.pixels, right.pixels)


def test_every_film_has_its_own_finding(bundle: Bundle) -> None:
    analysis = VaeBundleProcessor("chest", bundle, "es").analyse(_study(films=3))
    assert [f.instance_uid for f in analysis.findings] == ["1.2.0", "1.2.1", "1.2.2"]


def test_of_many_images_the_gravest_are_explained(bundle: Bundle) -> None:
    analysis = VaeBundleProcessor("chest", _banded(bundle, 0, 0), "en").analyse(_study(films=5))
    assert len(analysis.findings) == 5
    gravest = sorted(analysis.findings, key=lambda f: -f.probability)[:3]
    explained = [e.instance_uid for e in analysis.explanations]
    assert explained == [f.instance_uid for f in gravest]
    assert any("5 images were judged" in note for note in analysis.notes)


def test_of_many_images_without_a_finding_nothing_is_said_to_be_shown(bundle: Bundle) -> None:
    absent = VaeBundleProcessor("chest", _banded(bundle, 1, 1), "en").analyse(_study(films=5))
    assert absent.explanations == ()
    assert not any("images were judged" in note for note in absent.notes)


def test_every_finding_has_an_explained_image(bundle: Bundle) -> None:
    """One label on many images, graver on each, does not crowd the only image of another out."""
    film = read_film("1.2.0", _film(0), bundle)
    row, scale = bundle.row(0, 0), Scale(0.5, (0.4, 0.6))

    def judged(label: str, probability: float) -> _Judged:
        answer = _Answer(0, 0, row, scale, probability, None)
        return [(Finding(label, "1.2.0", probability, 0.5, answer.state, (0.4, 0.6)), answer)], film

    many = [judged("benign", p / 100) for p in range(90, 95)]
    chosen = _chosen([*many, judged("malignant", 0.7), judged("malignant", 0.1)])
    shown = [(f.label, f.probability) for pairs, _ in chosen[:3] for f, _ in pairs]
    assert shown == [("benign", 0.94), ("malignant", 0.7), ("benign", 0.93)]
    assert len(chosen) == 6


def test_the_images_that_are_shown_are_those_that_are_explained(bundle: Bundle) -> None:
    """Of two labels with unlike thresholds: the reports know no log-odds above them."""
    row = bundle.row(0, 0)
    points = {"benign": Scale(0.75, (0.54, 0.89)), "malignant": Scale(0.18, (0.08, 0.35))}

    def judged(number: int, label: str, p: float) -> _Judged:
        scale, uid = points[label], f"1.2.{number}"
        answer = _Answer(0, 0, row, scale, p, None)
        found = Finding(label, uid, p, scale.threshold, answer.state, scale.band)
        return [(found, answer)], read_film(uid, _film(number), bundle)

    each = [("benign", 0.95), ("benign", 0.94), ("benign", 0.93)]
    each += [("malignant", 0.9), ("malignant", 0.6), ("malignant", 0.55)]
    study = [judged(number, *one) for number, one in enumerate(each)]
    explained = [film.instance_uid for _, film in _chosen(study)[:MOST_EXPLAINED]]
    findings = tuple(finding for pairs, _ in study for finding, _ in pairs)
    said = Analysis("1.2", "breast", bundle.algorithm, Status.COMPLETED, findings=findings)
    assert explained == [uid for uid, _ in pictures(said)]


@pytest.mark.parametrize(
    ("questions", "states", "said"),
    [
        pytest.param((0, 0), "PP", True, id="two answers of one question"),
        pytest.param((0, 1), "PP", False, id="of two questions"),
        pytest.param((0, 0), "PU", False, id="one is undetermined"),
    ],
)
def test_answers_that_exclude_each_other(
    bundle: Bundle, questions: tuple[int, int], states: str, said: bool
) -> None:
    row, band = bundle.row(0, 0), (0.4, 0.6)
    named = {"P": State.PRESENT, "U": State.UNDETERMINED}
    found = [
        (
            Finding(f"label {k}", "1.2", 0.5, 0.5, named[state], band),
            _Answer(question, k, row, Scale(0.5, band), 0.5, None),
        )
        for k, (question, state) in enumerate(zip(questions, states, strict=True))
    ]
    assert _contradicts(found) is said


def test_a_refused_study_is_unsuitable_with_its_reason(bundle: Bundle) -> None:
    processor = VaeBundleProcessor("chest", bundle, "es")
    refusal = processor.accepts(_study(view="LL"))
    analysis = processor.analyse(_study(view="LL"))
    assert refusal is not None
    assert analysis.status is Status.UNSUITABLE
    assert (analysis.kind, analysis.reason) == (refusal.kind, refusal.reason)
    assert analysis.findings == ()


@pytest.mark.parametrize(
    ("age", "note"),
    [
        pytest.param("003Y", "niños", id="child"),
        pytest.param("050Y", "adultos", id="adult"),
    ],
)
def test_a_red_answer_says_so(bundle: Bundle, age: str, note: str) -> None:
    said = [f"sin validar en {q['words']['es']}" for q in bundle.card["questions"]]
    marked = _answering(bundle, *({"note": {"es": es, "en": "not validated"}} for es in said))
    analysis = VaeBundleProcessor("chest", marked, "es").analyse(_study(age))
    assert any(note in said for said in analysis.notes)
    assert analysis.impression is not None
    assert note in analysis.impression.text


@pytest.mark.parametrize("state", [State.PRESENT, State.ABSENT], ids=str)
def test_a_one_sided_model_says_so_where_a_region_is_drawn(bundle: Bundle, state: State) -> None:
    moved = _banded(bundle, *BANDS[state])
    card = dict(moved.card)
    said = {"es": "no localiza", "en": "names no side"}
    card["questions"] = [{**q, "region_note": said} for q in card["questions"]]
    marked = replace(moved, metadata={**moved.metadata, "dictamen": card})
    analysis = VaeBundleProcessor("chest", marked, "en").analyse(_study())
    assert ("names no side" in analysis.notes) is (state is State.PRESENT)


def test_unknown_age_takes_the_more_suspicious_answer(bundle: Bundle) -> None:
    processor = VaeBundleProcessor("chest", bundle, "en")
    known = [_only(processor.analyse(_study(age))).probability for age in ("003Y", "050Y")]
    analysis = processor.analyse(_study(""))
    assert _only(analysis).probability == pytest.approx(max(known))
    assert any("Age unknown" in note for note in analysis.notes)


def test_unknown_age_is_undetermined_when_populations_disagree(bundle: Bundle) -> None:
    split = _answering(
        bundle, {"band": [0.0, 0.0], "threshold": 0.0}, {"band": [1.0, 1.0], "threshold": 1.0}
    )
    analysis = VaeBundleProcessor("chest", split, "en").analyse(_study(""))
    assert _only(analysis).state is State.UNDETERMINED


def test_of_answers_that_disagree_the_one_that_is_not_absent_stands(bundle: Bundle) -> None:
    """However far the absent one lies above its threshold."""
    split = _answering(
        bundle, {"band": [0.0, 1.0], "threshold": 1.0}, {"band": [1.0, 1.0], "threshold": 0.0}
    )
    analysis = VaeBundleProcessor("chest", split, "en").analyse(_study(""))
    assert _only(analysis).band == (0.0, 1.0)


def test_model_nan(bundle: Bundle) -> None:
    class Broken:
        def encode(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 4, 4, 4), np.nan, np.float32)

        decode = encode

    processor = VaeBundleProcessor("chest", replace(bundle, networks=Broken()), "es")
    with pytest.raises(ModelOutputNotFinite):
        processor.analyse(_study())


def test_model_swap_leaves_the_gate_that_was_read_at_the_start(tmp_path: Path) -> None:
    """The gate's weights are replaced between the start and the first study."""
    folder = Path(shutil.copytree(SHIPPED / "chest", tmp_path / "chest"))
    processor = VaeBundleProcessor("chest", open_bundle(str(folder), "cpu"), "en")
    (folder / "models" / "gate.npz").write_bytes(b"of another version")
    refusal = processor.accepts(_study())
    assert refusal is None or refusal.kind == "out-of-distribution"


@pytest.mark.parametrize("key", ["low", "temperature", "none"])
def test_a_question_without_a_key_is_refused_at_the_start(bundle: Bundle, key: str) -> None:
    questions = [{k: v for k, v in q.items() if k != key} for q in bundle.card["questions"]]
    card = {**bundle.card, "questions": questions}
    short = replace(bundle, metadata={**bundle.metadata, "dictamen": card})
    with pytest.raises(WeightsShape, match=key):
        VaeBundleProcessor("chest", short, "es")


def test_unknown_explanation_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="magic"):
        VaeBundleProcessor("chest", bundle, "es", explain=("magic",))


def test_headers_are_left_alone(bundle: Bundle) -> None:
    study = _study()
    before = study.instances[0].header.to_json()
    VaeBundleProcessor("chest", bundle, "es").analyse(study)
    assert study.instances[0].header.to_json() == before


def test_the_bundle_folder_is_left_alone(bundle: Bundle) -> None:
    def listing() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in Path(bundle.folder).rglob("*")}

    before = listing()
    VaeBundleProcessor("chest", bundle, "es").analyse(_study())
    assert listing() == before


def test_methods_explain_in_their_order(bundle: Bundle) -> None:
    present = _banded(bundle, 0.0, 0.0)
    methods = ("gradcam", "traversal")
    analysis = VaeBundleProcessor("chest", present, "es", methods).analyse(_study())
    assert [one.method for one in analysis.explanations] == list(methods)
    first = analysis.explanations[0]
    assert first.frames == ()
    assert first.difference is not None
    assert first.difference.shape == (120, 100)
    assert {check.name for check in first.faithfulness} >= {"network_agreement"}


def test_a_method_that_is_not_installed_is_said_at_the_start(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "find_spec", lambda name: None if name == "lime" else object())
    VaeBundleProcessor("chest", bundle, "en", ("traversal", "shap"))
    with pytest.raises(MethodNotInstalled, match=r"lime needs lime.*dictamen\[explain\]"):
        VaeBundleProcessor("chest", bundle, "en", ("traversal", "lime"))
