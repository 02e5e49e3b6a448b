"""The bias audit, on models whose reason is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_model import SIZE, known_bundle, known_films

from processors.runtime import open_bundle
from processors.training.audit import page, pictures
from processors.training.audit.cases import FEWEST, Case, cases
from processors.training.audit.five import five
from processors.training.audit.following import Followed, followed
from processors.training.audit.groups import gaps
from processors.training.audit.mending import WAYS, mended, without
from processors.training.audit.probes import Probe, grown, marked, probe
from processors.training.audit.record import audits
from processors.training.audit.verdict import verdict
from processors.training.card import judged, write_audit
from processors.training.data import ImageSet
from processors.training.files import write_checksums, write_json
from processors.training.measure import Estimate
from processors.training.studies.audits import Model, _share, models
from processors.training.studies.marker_models import CAUSE
from processors.training.studies.marker_planting import CLEAN, KINDS, confounder

MARK, CORNER = ((300.0, 0.0), -15.0), ((0.0, 30.0), -15.0)
BOTH = (300.0, 30.0), -15.0


def _case(model: tuple[tuple[float, float], float], films: ImageSet) -> Case:
    return next(cases(known_bundle(*model), films))


def _told(films: ImageSet, **values: list[str]) -> ImageSet:
    """The films with these columns of the table."""
    lines = [dict(zip(values, line, strict=True)) for line in zip(*values.values(), strict=True)]
    samples = tuple(replace(s, **line) for s, line in zip(films.samples, lines, strict=True))
    return replace(films, samples=samples)


# --- marks


@pytest.mark.parametrize(
    ("model", "kind", "harmed"),
    [
        pytest.param(BOTH, "tag", True, id="reads the corner, and the mark"),
        pytest.param(BOTH, "spot", True, id="another white mark"),
        pytest.param(CORNER, "tag", False, id="reads the corner alone"),
    ],
)
def test_a_mark_harms_the_model_that_reads_it(
    model: tuple[tuple[float, float], float], kind: str, harmed: bool
) -> None:
    case = _case(model, known_films(60))
    found = probe(case, marked(case, kind))
    assert (found.lost.low > 0.3) is harmed
    assert (found.turned.value > 0.5) is harmed


def test_a_mark_that_speaks_against_the_finding_is_found_too() -> None:
    films = known_films(60)
    bundle = known_bundle((-200.0, 30.0), -15.0)
    bundle.donors  # noqa: B018 - the same reader; only its head differs
    case = next(cases(bundle, films))
    hidden = _over_the_corner(case)
    assert hidden.lowers.low > 0.1
    assert hidden.lost == hidden.lowers


def _over_the_corner(case: Case) -> Probe:
    """A white block where the finding is."""
    inputs = case.images.inputs.copy()
    inputs[:, -16:, -16:] = 255
    from processors.training.audit.cases import encoded, margins_of

    latents = encoded(case.bundle, inputs)
    held = replace(marked(case, "tag"), latents=latents, margins=margins_of(latents, case.row))
    return probe(case, held)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [48, 96, 128])
def test_a_mark_grows_with_the_input(kind: str, size: int) -> None:
    drawn, found = KINDS[kind].stamp, grown(KINDS[kind], size).stamp
    assert found.shape == tuple(round(n * size / 96) for n in drawn.shape)
    assert found.mean() == pytest.approx(drawn.mean(), abs=0.12)


# --- what the score follows


@pytest.mark.parametrize(
    ("source", "follows"),
    [
        pytest.param(lambda case: case.margins > np.median(case.margins), True, id="the score"),
        pytest.param(lambda case: np.arange(len(case.margins)) % 4 < 2, False, id="something else"),
    ],
)
def test_a_source_that_the_score_tells_is_named(source, follows: bool) -> None:
    bare = _case(CORNER, known_films(120))
    ill = bare.positive
    high = np.where(ill, bare.margins > np.median(bare.margins[ill]),
                    bare.margins > np.median(bare.margins[~ill]))  # fmt: skip
    side = high if follows else source(bare)
    names = ["here" if one else "there" for one in side]
    case = _case(CORNER, _told(known_films(120), source=names))
    found = list(followed(case))
    assert [one.attribute for one in found] == ["source"]
    assert verdict({}, found).biased is follows


def test_nothing_is_said_of_groups_too_small() -> None:
    names = ["here"] * 114 + ["there"] * 6
    case = _case(CORNER, _told(known_films(120), source=names))
    assert not list(followed(case))
    assert not list(gaps(case))


# --- for whom


def test_a_group_that_the_model_fails_is_a_gap() -> None:
    films = known_films(160)
    inputs = films.inputs.copy()
    women = np.arange(160) % 4 < 2
    inputs[women, -16:, -16:] = inputs[women, :16, :16]  # their finding cannot be seen
    films = replace(films, inputs=inputs)
    case = _case(CORNER, _told(films, sex=["F" if one else "M" for one in women]))
    (gap,) = gaps(case)
    assert gap.groups["M"]["auc"] == 1.0
    assert gap.gap.value > 0.3
    assert gap.gap.low > gap.by_chance
    assert gap.groups["F"]["films"] == 80


# --- the strips


def test_five_figures_of_a_model_that_reads_one_thing() -> None:
    found = five(_case(CORNER, known_films(80)))
    assert found is not None
    assert found.films == 40
    assert found.influence.value == 1.0
    assert found.disentangling is None  # one answer alone
    assert found.preservation.value > 0.9
    assert found.realism.value < 0.5  # this decoder paints grey squares
    assert 0 <= found.stability.value <= 1


def test_no_figure_of_too_few() -> None:
    case = _case(CORNER, known_films(80))
    few = replace(case, margins=np.where(np.arange(80) < 2 * FEWEST - 2, case.margins, -9.0))
    assert five(few) is None


# --- mending


def test_a_mark_is_taken_out_of_the_head() -> None:
    chooses, judged = _case(BOTH, known_films(60)), _case(BOTH, known_films(80))
    for found in mended(chooses, judged, "tag"):
        assert found.before.value < 0.6
        assert found.back.low > 0.6
        assert found.cost.high <= 0.02


def test_nothing_is_taken_out_where_it_would_cost_more_than_is_allowed() -> None:
    chooses, judged = _case(MARK, known_films(60)), _case(MARK, known_films(80))
    assert mended(chooses, judged, "tag")[0].cost.high <= 0.02


def test_a_blind_row_is_orthogonal_to_what_it_must_not_see() -> None:
    row = _case(BOTH, known_films(40)).row
    blind = without(row, np.array([[1.0, 0.0]], np.float32))
    np.testing.assert_allclose(blind.weight, [[0.0, 30.0]])


# --- verdict


def _figure(value: float, width: float = 0.02) -> Estimate:
    return Estimate(value, value - width, value + width)


@pytest.mark.parametrize(
    ("raises", "lowers", "accused"),
    [
        pytest.param(_figure(0.3), _figure(0.0), True, id="raises"),
        pytest.param(_figure(0.0), _figure(0.3), True, id="lowers"),
        pytest.param(_figure(0.11), _figure(0.0), False, id="its interval reaches below"),
        pytest.param(_figure(0.0), _figure(-0.3), False, id="a mark that helps"),
    ],
)
def test_marks_accuse_by_the_lower_end(raises: Estimate, lowers: Estimate, accused: bool) -> None:
    one = Probe("tag", raises, lowers, _figure(0), _figure(0))
    found = verdict({"tag": one}, ())
    assert found.biased is accused
    assert [one.kind for one in found.marks] == ["tag"] * accused


@pytest.mark.parametrize(
    ("attribute", "score", "accused", "noted"),
    [
        pytest.param("source", _figure(0.7), True, False, id="source"),
        pytest.param("view", _figure(0.3), True, False, id="turned round"),
        pytest.param("sex", _figure(0.7), False, True, id="sex may belong to the disease"),
        pytest.param("source", _figure(0.55), False, False, id="weak"),
        pytest.param("source", _figure(0.7, 0.2), False, False, id="wide"),
    ],
)
def test_a_score_that_follows_is_accused_or_noted(
    attribute: str, score: Estimate, accused: bool, noted: bool
) -> None:
    found = verdict({}, [Followed(attribute, "x", 50, score, _figure(0.9))])
    assert (found.biased, bool(found.noted)) == (accused, noted)


# --- the page


def test_a_page_names_its_verdict_in_both_languages_and_escapes_what_tables_say() -> None:
    films = _told(known_films(80), source=["<b>x</b>", "<b>x</b>", "y", "y"] * 20)
    bundle = replace(known_bundle(*BOTH), metadata={
        "name": "known", "version": "1", **known_bundle(*BOTH).metadata})  # fmt: skip
    found = list(audits(bundle, films, known_films(60), lambda _: None))
    for language, said in (("en", "a planted tag"), ("es", "una marca pegada (tag)")):
        text = page.page(bundle, found, language, gradcam=False)
        assert said in text
        assert "<b>x" not in text
        assert "&lt;b&gt;x" in text
        assert "Grad-CAM needs" in text or "necesita el extra" in text
    record = found[0].record()
    assert record["biased"]
    assert {one["kind"] for one in record["mended"]} == {m.kind for m in found[0].verdict.marks}
    assert {one["way"] for one in record["mended"]} == set(WAYS)


def test_a_card_takes_what_an_audit_found(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "bundle")
    found = next(audits(known_bundle(*BOTH), known_films(80), known_films(60), lambda _: None))
    record = {"split": "val", "answers": {"cause/bacterial": found.record()}}
    with pytest.raises(ValueError, match="no card yet"):
        write_audit(open_bundle(str(folder), "cpu"), record)
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    block = metadata["dictamen"]
    evaluated = {"split": "val", "answers": {}, "ms": {"encoder": 1, "decoder": 1}, "parameters": 9}
    write_json(folder / "configs" / "metadata.json",
               {**metadata, "dictamen": judged(block, evaluated)})  # fmt: skip
    write_checksums(folder)
    text = write_audit(open_bundle(str(folder), "cpu"), record).read_text()
    assert "cause/bacterial: **BIASED**" in text
    assert "AUC lost to a tag" in text
    assert open_bundle(str(folder), "cpu").card["audit"]["split"] == "val"


def test_both_languages_say_the_same() -> None:
    assert page.WORDS["en"].keys() == page.WORDS["es"].keys()


def test_a_picture_is_a_png() -> None:
    rows = [pictures.Dot("a", _figure(0.2), bad=True), pictures.Dot("b", _figure(0.0), bad=False)]
    assert pictures.dots(rows, [0.1], "").startswith(b"\x89PNG")


# --- how often it is right


def test_the_study_has_twenty_of_each_and_tells_them_apart() -> None:
    asked = models()
    assert len({one.name for one in asked}) == len(asked)
    assert sum(one.biased for one in asked) >= 20
    assert sum(not one.biased for one in asked) >= 20
    assert not Model(CAUSE, CLEAN, 0).biased
    assert not Model(CAUSE, confounder(0.5, "spot"), 0).biased  # it means nothing
    assert Model(CAUSE, confounder(0.8), 0).biased


@pytest.mark.parametrize(
    ("yes", "low", "high"),
    [
        pytest.param([True] * 20, 0.8316, 1.0, id="all of twenty"),
        pytest.param([False] * 20, 0.0, 0.1684, id="none of twenty"),
    ],
)
def test_intervals_are_exact(yes: list[bool], low: float, high: float) -> None:
    assert (_share(yes)["low"], _share(yes)["high"]) == (low, high)


def test_known_films_fit_the_known_model() -> None:
    assert known_films(4).inputs.shape == (4, SIZE, SIZE)
    assert Path(known_bundle(*BOTH).folder) == Path()
