"""The draft impression in the outputs: what it rests on, how urgent it is, the patient's words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from report_cases import (
    MADE_AT,
    OPTIONS,
    concept,
    full,
    items,
    read,
    segments,
    source,
    study,
)

from processors.analysis import CRITICALITY, Analysis, Impression, Sentence
from reports import Report, hl7_oru, text_report
from reports.draft import is_critical, passages
from reports.result import result

IMAGE = source()
STUDY = study(IMAGE)
SUMMARY = "Borrador. Pregunte a su médico.\nHa visto signos de neumonía."
PNEUMONIA, BOTH = ("pneumonia",), ("pneumonia", "nodule")


def drafted(*categories: int) -> Analysis:
    """The full analysis with a sentence of each category, on the pneumonia; a note on both."""
    sentences = [Sentence(f"Frase {n}.", PNEUMONIA, category=c) for n, c in enumerate(categories)]
    sentences.append(Sentence("Nota.", BOTH))
    most = min((c for c in categories if c), default=0)
    draft = Impression("es", tuple(sentences), CRITICALITY[most])
    return replace(full(STUDY, IMAGE), impression=draft, patient_summary=SUMMARY)


def message(told: Analysis) -> list[list[str]]:
    options = replace(OPTIONS, language="es")
    return segments(hl7_oru.write(told, STUDY, options, MADE_AT)[0])


def document(told: Analysis) -> Dataset:
    options = replace(OPTIONS, language="es")
    (report,) = text_report.write(told, STUDY, options, MADE_AT)
    return read(report)


def parts(made: Dataset, name: str) -> list[Dataset]:
    return [item for item in items(made) if concept(item) == name and item.ValueType == "TEXT"]


# ---- urgency ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("categories", "criticality", "priority", "note"),
    [
        pytest.param((1, 3), "minutes", "^^^^^S", "categoría 1, minutos", id="minutes"),
        pytest.param((2, 0), "hours", "", "categoría 2, horas", id="hours"),
        pytest.param((3,), "days", "", "categoría 3, días", id="days"),
        pytest.param((0,), "routine", "", "", id="none"),
    ],
)
def test_urgency_is_told_to_everybody(
    categories: tuple[int, ...], criticality: str, priority: str, note: str
) -> None:
    told = drafted(*categories)
    rows = message(told)
    (obr,) = [row for row in rows if row[0] == "OBR"]
    assert "".join(obr[27:28]) == priority
    after_obr = rows[rows.index(obr) + 2]
    assert (note in after_obr[3]) if note else ("categoría" not in str(rows))
    said = str(parts(document(told), "121071")[0].TextValue)
    assert note in said.splitlines()[1] if note else "categoría" not in said
    assert is_critical(told) is (criticality == "minutes")
    made = result(told)["impression"]
    assert made["criticality"] == criticality
    assert [one["category"] for one in made["sentences"]] == [*categories, 0]


@pytest.mark.parametrize("category", [0, 1, 2, 3])
def test_a_draft_raises_no_critical_flag_of_its_own(category: int) -> None:
    """OBX-8 says present or absent whatever the urgency; nothing is final."""
    rows = [row for row in message(drafted(category)) if row[0] == "OBX"]
    assert {row[8] for row in rows} == {"", "A", "N"}
    assert {row[11] for row in rows} == {"O", "P"}


def test_the_category_is_part_of_what_makes_a_result_this_result() -> None:
    def uid(told: Analysis) -> str:
        report: Report = hl7_oru.write(told, STUDY, OPTIONS, MADE_AT)[0]
        return report.uid

    assert uid(drafted(1)) != uid(drafted(2)) != uid(drafted(0))
    assert uid(drafted(1)) == uid(drafted(1))


def test_a_draft_without_a_category_of_each_sentence_is_told_too() -> None:
    draft = Impression("es", (Sentence("Neumotórax a tensión.", ()),), "minutes")
    (obr,) = [row for row in message(replace(drafted(0), impression=draft)) if row[0] == "OBR"]
    assert obr[27] == "^^^^^S"


# ---- what it rests on ---------------------------------------------------------------------------
def test_sentences_of_the_same_findings_stand_together() -> None:
    found = passages(drafted(0, 2))
    assert [(p.text, [f.label for f in p.findings], p.category) for p in found] == [
        ("Frase 0. Frase 1.", ["pneumonia"], 2),
        ("Nota.", ["pneumonia", "nodule"], 0),
    ]


def test_each_part_of_the_draft_names_its_findings() -> None:
    told = drafted(2)
    (first, second) = parts(document(told), "121073")
    assert str(first.TextValue).splitlines() == [
        OPTIONS.label, "Frase 0.", "Se basa en: Neumonía. Categoría 2, horas.",
    ]  # fmt: skip
    assert [
        (i.RelationshipType, concept(i), str(i.ConceptCodeSequence[0].CodeMeaning))
        for i in second.ContentSequence
    ] == [
        ("INFERRED FROM", "233604007", "Present"),
        ("INFERRED FROM", "27925004", "Undetermined"),
    ]
    rows = message(told)
    drafts = [n for n, row in enumerate(rows) if "19005-8" in str(row[3:4])]
    assert [rows[n + 1][3] for n in drafts] == [
        "Se basa en: Neumonía. Categoría 2, horas.",
        "Se basa en: Neumonía, Nódulo.",
    ]


# ---- the patient's words ------------------------------------------------------------------------
def test_no_section_without_the_patients_words() -> None:
    told = replace(drafted(2), patient_summary="")
    assert "PATIENT-SUMMARY" not in str(message(told)) + str(document(told))


def test_the_patients_words_go_out_with_both_labels_and_a_code_of_their_own() -> None:
    told = drafted(2)
    (item,) = parts(document(told), "PATIENT-SUMMARY")
    assert str(item.TextValue).splitlines() == [OPTIONS.label, *SUMMARY.splitlines()]
    rows = [row for row in message(told) if row[0] == "OBX"]
    words = [row for row in rows if row[3].startswith("PATIENT-SUMMARY^")]
    assert [row[5] for row in words] == SUMMARY.splitlines()
    assert {(row[8], row[11]) for row in words} == {("", "P")}
    assert rows.index(words[0]) > max(n for n, row in enumerate(rows) if "19005-8" in row[3])
