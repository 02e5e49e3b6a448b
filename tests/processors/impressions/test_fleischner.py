"""Each cell of the Fleischner table of 2017, its edges, and everything that it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.analysis import Refusal
from processors.impressions.fleischner import FollowUp, Kind, Nodule, follow_up
from processors.impressions.lexicon import table

KNOWN = Nodule(
    modality="CT",
    axes=(7.0, 7.0),
    kind=Kind.SOLID,
    several=False,
    high_risk=False,
    age=60,
    cancer=False,
    immunosuppression=False,
    screening=False,
    benign=False,
)
NONE, OPTIONAL = "No routine follow-up.", "Optional CT at 12 months."
SAMPLE = "Consider CT at 3 months, PET/CT, or tissue sampling."


@pytest.mark.parametrize(
    ("several", "high", "size", "text"),
    [
        (False, False, 5, NONE),
        (False, False, 7, "CT at 6-12 months, then consider CT at 18-24 months."),
        (False, False, 9, SAMPLE),
        (False, True, 5, OPTIONAL),
        (False, True, 7, "CT at 6-12 months, then CT at 18-24 months."),
        (False, True, 9, SAMPLE),
        (True, False, 5, NONE),
        (True, False, 7, "CT at 3-6 months, then consider CT at 18-24 months."),
        (True, False, 9, "CT at 3-6 months, then consider CT at 18-24 months."),
        (True, True, 5, OPTIONAL),
        (True, True, 7, "CT at 3-6 months, then CT at 18-24 months."),
        (True, True, 9, "CT at 3-6 months, then CT at 18-24 months."),
    ],
)
def test_each_cell_of_solid_nodules(several: bool, high: bool, size: int, text: str) -> None:
    nodule = replace(KNOWN, several=several, high_risk=high, axes=(float(size),))
    told = follow_up(nodule, "en")
    assert isinstance(told, FollowUp)
    count, risk = ("multiple" if several else "single"), ("high" if high else "low")
    column = {5: "< 6 mm", 7: "6-8 mm", 9: "> 8 mm"}[size]
    row = f"solid, {count}, {risk} risk"
    assert told == FollowUp(text, f"Fleischner Society 2017, Table 1 A, {row}, {column}")


@pytest.mark.parametrize(
    ("kind", "several", "size", "begin", "row"),
    [
        (Kind.GROUND_GLASS, False, 5, NONE, "ground glass, single, < 6 mm"),
        (Kind.GROUND_GLASS, False, 6, "CT at 6-12 months to", "ground glass, single, ≥ 6 mm"),
        (Kind.PART_SOLID, False, 5, NONE, "part solid, single, < 6 mm"),
        (Kind.PART_SOLID, False, 6, "CT at 3-6 months to", "part solid, single, ≥ 6 mm"),
        (Kind.GROUND_GLASS, True, 5, "CT at 3-6 months; if", "subsolid, multiple, < 6 mm"),
        (Kind.PART_SOLID, True, 6, "CT at 3-6 months; sub", "subsolid, multiple, ≥ 6 mm"),
    ],
)
def test_each_cell_of_subsolid_nodules(
    kind: Kind, several: bool, size: int, begin: str, row: str
) -> None:
    """Risk is not asked of them."""
    nodule = replace(KNOWN, kind=kind, several=several, high_risk=None, axes=(float(size),))
    told = follow_up(nodule, "en")
    assert isinstance(told, FollowUp)
    assert told.text.startswith(begin)
    assert told.source == f"Fleischner Society 2017, Table 1 B, {row}"


@pytest.mark.parametrize(
    ("axes", "column"),
    [
        ((6.0, 5.0), "6-8 mm"),  # mean 5.5, rounded to 6
        ((5.4,), "< 6 mm"),
        ((6.0,), "6-8 mm"),
        ((8.0,), "6-8 mm"),
        ((10.0, 6.0), "6-8 mm"),
        ((8.4,), "6-8 mm"),
        ((8.5,), "> 8 mm"),
    ],
)
def test_size_is_the_rounded_mean_and_edges_belong_to_the_middle(
    axes: tuple[float, ...], column: str
) -> None:
    told = follow_up(replace(KNOWN, axes=axes), "en")
    assert isinstance(told, FollowUp)
    assert told.source.endswith(column)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"modality": "CR"}, "modality"),
        ({"modality": "DX"}, "modality"),
        ({"screening": True}, "screening"),
        ({"age": 34.9}, "age"),
        ({"cancer": True}, "cancer"),
        ({"immunosuppression": True}, "immunosuppression"),
        ({"benign": True}, "benign"),
    ],
)
def test_outside_its_population_the_table_is_refused(change: dict[str, object], kind: str) -> None:
    told = follow_up(replace(KNOWN, **change), "en")  # type: ignore[arg-type]
    assert isinstance(told, Refusal)
    assert told.kind == kind
    assert isinstance(follow_up(replace(KNOWN, age=35), "en"), FollowUp)


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("modality", "modality"),
        ("axes", "size"),
        ("kind", "solid or subsolid"),
        ("several", "single or multiple"),
        ("high_risk", "risk"),
        ("age", "age"),
        ("cancer", "known cancer"),
        ("immunosuppression", "immunosuppression"),
        ("screening", "whether it is screening"),
        ("benign", "whether it is typically benign"),
    ],
)
def test_what_is_not_known_is_named_and_nothing_proposed(field: str, what: str) -> None:
    told = follow_up(replace(KNOWN, **{field: None}), "en")
    assert told == Refusal("missing", f"No follow-up is proposed: not known: {what}.")


def test_nothing_known_names_everything_in_spanish() -> None:
    told = follow_up(Nodule(kind=Kind.SOLID), "es")
    assert isinstance(told, Refusal)
    assert told.reason.startswith("No se propone seguimiento: no consta: modalidad, ")
    assert told.reason.endswith("tamaño, riesgo.")


def test_every_cell_and_reason_stands_in_both_languages() -> None:
    def leaves(node: dict[str, object]) -> list[dict[str, object]]:
        if all(isinstance(value, str) for value in node.values()):
            return [node]
        return [
            leaf for value in node.values() if isinstance(value, dict) for leaf in leaves(value)
        ]

    found = leaves(table("fleischner"))
    assert len(found) == 4 * 4 + 3 * 3 + 1 + 7 + 10
    assert all(set(leaf) == {"en", "es"} and all(leaf.values()) for leaf in found)
    told = follow_up(KNOWN, "es")
    assert isinstance(told, FollowUp)
    assert told.source.startswith("Sociedad Fleischner 2017, tabla 1 A, sólido, único, riesgo bajo")


@pytest.mark.parametrize("axes", [(), (0.0,), (5.0, -1.0)])
def test_a_size_that_is_none_is_refused(axes: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        replace(KNOWN, axes=axes)
