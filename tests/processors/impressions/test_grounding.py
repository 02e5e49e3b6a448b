"""The guard: one case a fault in both languages, what must stay silent."""

from __future__ import annotations

import pytest

from processors.analysis import Finding, State
from processors.impressions.faults import REASONS, Fault
from processors.impressions.grounding import check, coded

EN = (
    "Small right pleural effusion. 8 mm nodule in the left upper lobe. Mild cardiomegaly. "
    "Left basilar opacity, which may represent atelectasis. No pneumothorax. "
    "Healed fracture of the left sixth rib."
)
ES = (
    "Pequeño derrame pleural derecho. Nódulo de 8 mm en el lóbulo superior izquierdo. "
    "Cardiomegalia leve. Opacidad basal izquierda, que podría corresponder a atelectasia. "
    "Sin neumotórax."
)
WHOLE = {
    "en": "Small right effusion. 8 mm left upper lobe nodule. Healed left sixth rib fracture. ",
    "es": "Pequeño derrame derecho. Nódulo de 8 mm en lóbulo superior izquierdo. ",
}


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "Mild cardiomegaly."),
        ("en", "Possible left basilar atelectasis."),
        ("en", "No pneumothorax."),
        ("en", "No acute fracture."),
        ("en", "No left effusion."),
        ("en", "Follow-up CT in 3 months is advised."),
        ("es", "Cardiomegalia leve."),
        ("es", "Posible atelectasia basal izquierda."),
        ("es", "Sin neumotórax."),
        ("es", "Se recomienda TC en 3 meses."),
    ],
)
def test_what_the_findings_hold_raises_no_fault(language: str, sentence: str) -> None:
    findings = {"en": EN, "es": ES}[language]
    judged = check(WHOLE[language] + sentence, findings, language)
    assert judged.faults == ()
    assert all(verdict.supported for verdict in judged.sentences)


@pytest.mark.parametrize(
    ("language", "sentence", "kind"),
    [
        ("en", "Left apical pneumothorax.", Fault.NEGATION),
        ("en", "No cardiomegaly.", Fault.NEGATION),
        ("en", "Left lower lobe consolidation.", Fault.UNSUPPORTED),
        ("en", "Acute process.", Fault.UNSUPPORTED),
        ("en", "Small left pleural effusion.", Fault.SIDE),
        ("en", "A 12 mm nodule.", Fault.NUMBER),
        ("en", "Severe cardiomegaly.", Fault.DEGREE),
        ("en", "Left basilar atelectasis.", Fault.HEDGE),
        ("en", "The opacity is diagnostic of atelectasis.", Fault.HEDGE),
        ("es", "Neumotórax apical izquierdo.", Fault.NEGATION),
        ("es", "Sin cardiomegalia.", Fault.NEGATION),
        ("es", "Consolidación en lóbulo inferior izquierdo.", Fault.UNSUPPORTED),
        ("es", "Derrame pleural izquierdo.", Fault.SIDE),
        ("es", "Nódulo de 12 mm.", Fault.NUMBER),
        ("es", "Cardiomegalia severa.", Fault.DEGREE),
        ("es", "Atelectasia basal izquierda.", Fault.HEDGE),
    ],
)
def test_a_fault_is_found_and_typed(language: str, sentence: str, kind: Fault) -> None:
    findings = {"en": EN, "es": ES}[language]
    judged = check(WHOLE[language] + sentence, findings, language)
    assert kind in {fault.kind for fault in judged.sentences[-1].objections}
    assert all(verdict.supported for verdict in judged.sentences[:-1])
    assert judged.dropped == ()


@pytest.mark.parametrize(
    ("draft", "kind"),
    [
        ("Left effusion.", Fault.SIDE),
        ("Large effusion.", Fault.DEGREE),
        ("New effusion.", Fault.UNSUPPORTED),
        ("5 mm effusion.", Fault.NUMBER),
    ],
)
def test_nothing_is_added_to_a_bare_finding(draft: str, kind: Fault) -> None:
    assert {fault.kind for fault in check(draft, "Pleural effusion.", "en").faults} == {kind}
    assert not check("Effusion.", "Pleural effusion.", "en").faults


@pytest.mark.parametrize(
    ("language", "findings", "draft", "kinds"),
    [
        # "bilateral" names no side
        ("en", "Bilateral opacities.", "Opacity at the right base.", {Fault.SIDE}),
        ("en", "Bilateral opacities, more on the left.", "Left opacity.", set()),
        ("es", "Opacidades bilaterales.", "Opacidad en la base derecha.", {Fault.SIDE}),
        # one of two alternatives
        ("en", "Atelectasis or pneumonia.", "Possible pneumonia.", {Fault.HEDGE}),
        ("en", "Atelectasis or pneumonia.", "Pneumonia or atelectasis.", set()),
        ("es", "Atelectasia o neumonía.", "Posible neumonía.", {Fault.HEDGE}),
        # an all-clear beside what cannot wait
        ("en", "Large right pneumothorax.", "No acute disease. Right pneumothorax.", {"negation"}),
        ("en", "Large right pneumothorax.", "Right pneumothorax. No other acute disease.", set()),
        ("es", "Neumotórax derecho.", "Neumotórax. Sin hallazgos agudos.", {"negation"}),
        # what is denied with a quality is not denied altogether
        ("en", "Rounded opacity. No cavitary nodule.", "Nodule.", set()),
        ("en", "Rounded opacity. No nodule.", "Possible mass.", set()),
        # a reading given as one; none of what is grave
        ("en", "Hyperinflated lungs.", "Emphysema.", {Fault.HEDGE}),
        ("en", "Hyperinflated lungs.", "Changes consistent with emphysema.", set()),
        ("en", "A nodule.", "A nodule consistent with malignancy.", {Fault.HEDGE}),
        ("en", "A nodule.", "A nodule suspicious for malignancy.", set()),
        ("en", "Calcified nodule.", "Calcified granuloma.", set()),
        # a structure said to be normal denies its finding
        ("en", "Left opacity.", "Left opacity. The lungs are clear.", {Fault.NEGATION}),
        ("en", "Left opacity.", "Left opacity. The lungs are otherwise clear.", set()),
        ("es", "Opacidad basal.", "Opacidad basal. Pulmones limpios.", {Fault.NEGATION}),
        # bones are told apart from heart and lungs
        ("en", "Rib fracture.", "Rib fracture. No acute cardiopulmonary disease.", set()),
        # words of technique, of looking and of structure are no findings
        ("en", "Right effusion.", "Right effusion. Left lateral decubitus film advised.", set()),
        ("en", "Mild scoliosis. Lungs clear.", "Mild scoliosis, lungs grossly clear.", set()),
        ("en", "No pleural effusion. Scar.", "Pleural scar.", set()),
        # borderline, apparent: hedges
        ("en", "Borderline heart size.", "Borderline cardiomegaly.", set()),
        ("en", "Apparent fracture.", "Fracture.", {Fault.HEDGE}),
        # who must do what, and that it was done, only the findings say
        ("en", "Nodule.", "Nodule. CT is recommended.", set()),
        ("en", "Nodule.", "Nodule. CT is performed.", {Fault.UNSUPPORTED}),
        # the findings' own words, even where they contradict themselves
        ("en", "Nodule, no mass or nodule.", "Nodule, no mass or nodule.", set()),
    ],
)  # fmt: skip
def test_the_finer_rules_by_case(language: str, findings: str, draft: str, kinds: set[str]) -> None:
    assert {fault.kind for fault in check(draft, findings, language).faults} == kinds


@pytest.mark.parametrize(
    ("findings", "draft", "left"),
    [
        ("Left effusion. Right effusion.", "Right effusion.", ["Left effusion."]),
        ("Pneumothorax.", "No fracture.", ["Pneumothorax."]),
        ("Rib fracture.", "No displaced fracture.", ["Rib fracture."]),
        ("Airspace disease, concern for infiltrate.", "Consolidation, possible infiltrate.", []),
        ("Left consolidation.", "Left airspace disease.", []),
        ("Left consolidation.", "Left opacity.", ["Left consolidation."]),
        ("Concern for neoplasm.", "Nodule.", ["Concern for neoplasm."]),
        ("Nodule, not calcified.", "Scoliosis.", ["Nodule, not calcified."]),
        ("Calcified nodule.", "Granuloma.", []),
        # a vertebra is no rib, and a wedge shape no certain fracture
        (
            "Acute compression fracture of T8.",
            "Old rib fracture.",
            ["Acute compression fracture of T8."],
        ),
        ("Old rib fracture.", "T8 compression fracture.", ["Old rib fracture."]),
        ("Fracture of T8.", "T8 compression fracture.", []),
        ("Old fracture.", "Wedging of T8.", ["Old fracture."]),
        # words of one meaning
        ("Vascular cephalization.", "Vascular redistribution.", []),
        # what an exam is limited for is no finding
        ("Views limited for evaluation of rib fractures.", "Scoliosis.", []),
    ],
)
def test_a_critical_finding_is_told_by_its_name_or_its_kind(
    findings: str, draft: str, left: list[str]
) -> None:
    assert [fault.what for fault in check(draft, findings, "en").dropped] == left


@pytest.mark.parametrize(
    ("language", "findings", "left"),
    [
        ("en", "Large right pneumothorax. Clear left lung.", 1),
        ("en", "Right pneumothorax. Possible rib fracture.", 2),
        ("en", "Old healed rib fracture. Calcified granuloma.", 1),
        ("en", "Calcified granuloma.", 0),
        ("en", "No pneumothorax. Mild scoliosis.", 0),
        ("es", "Neumotórax derecho a tensión.", 1),
        ("es", "Fractura costal antigua.", 1),
        ("es", "Sin neumotórax; enfisema subcutáneo izquierdo.", 1),
        ("en", "Side port of the NG tube at the GE junction; advancement recommended.", 1),
        ("es", "SNG alta, se recomienda avanzar la sonda.", 1),
        ("es", "Atelectasia completa del pulmón izquierdo.", 1),
        ("en", "RV/LV ratio 1.2, right heart strain.", 1),
        ("en", "Cord compression at T8.", 1),
        ("en", "Chest tube side hole lies outside the pleural space.", 1),
        ("en", "The right ventricular lead is displaced.", 1),
        ("es", "Signos de compresión medular.", 1),
    ],
)
def test_a_critical_finding_may_not_be_left_out(language: str, findings: str, left: int) -> None:
    draft = {"en": "Low lung volumes.", "es": "Escoliosis."}[language]
    assert len(check(draft, findings, language).dropped) == left


def test_a_sentence_carries_the_mentions_it_rests_on() -> None:
    (verdict,) = check("Possible atelectasis.", EN, "en").sentences
    assert [(m.concept, m.sentence) for m in verdict.rests_on] == [
        ("atelectasis", "Left basilar opacity, which may represent atelectasis.")
    ]


def test_coded_findings_support_a_draft_beside_the_text() -> None:
    found = [
        Finding("pneumonia", "1.2", 0.9, 0.5, State.PRESENT, (0.4, 0.6)),
        Finding("unknown_label", "1.2", 0.9, 0.5, State.PRESENT, (0.4, 0.6)),
    ]
    known = coded(found)
    assert [m.concept for m in known] == ["pneumonia"]
    assert check("Pneumonia.", "", "en").faults
    assert not check("Pneumonia.", "", "en", known).faults
    assert [f.kind for f in check("Scoliosis.", "Scoliosis.", "en", known).faults] == [
        Fault.DROPPED
    ]


def test_every_fault_has_its_reason_in_both_languages() -> None:
    assert all(set(reasons) == set(Fault) for reasons in REASONS.values())
    (fault,) = check("Neumonía.", "Escoliosis.", "es").faults
    assert fault.reason == "Los hallazgos no lo nombran: Neumonía."


@pytest.mark.parametrize(
    ("language", "findings", "sentence", "minds"),
    [
        ("en", "Large right pneumothorax.", "Normal chest x-ray.", True),
        ("en", "Possible pneumonia.", "The examination is unremarkable.", True),
        ("en", "Possible pneumonia.", "No acute disease.", True),
        ("en", "The left lung is clear. The right lung is not.", "No acute disease.", True),
        ("en", "Interval development of an effusion.", "No acute abnormality.", True),
        ("en", "Right effusion; a new left one has developed.", "No acute findings.", True),
        ("es", "Derrame de nueva aparición.", "Sin hallazgos agudos.", True),
        ("en", "Aortic injury cannot be excluded.", "No acute abnormality.", True),
        ("es", "Sin poder descartar patología aórtica.", "Sin hallazgos agudos.", True),
        ("es", "Se descarta patología aórtica.", "Sin hallazgos agudos.", False),
        ("es", "Redistribución vascular.", "Sin alteraciones agudas.", True),
        ("en", "Stable pneumothorax.", "No acute cardiopulmonary abnormality.", True),
        ("en", "Known right upper lobe mass.", "No acute disease.", True),
        ("en", "Small effusion.", "No acute cardiopulmonary abnormality.", False),
        ("en", "Stable effusion, no new nodule.", "No acute cardiopulmonary disease.", False),
        ("en", "Mild cardiomegaly.", "Normal chest x-ray.", False),
        ("en", "Old rib fracture.", "No acute cardiopulmonary disease.", False),
        ("en", "Tiny pneumothorax.", "Otherwise unremarkable examination.", False),
        ("es", "Gran neumotórax derecho.", "Tórax sin alteraciones.", True),
        ("es", "No se descarta neumonía.", "Estudio normal.", True),
        ("es", "El derrame derecho se ha resuelto. El izquierdo no.", "Estudio normal.", True),
        ("es", "Sin neumotórax. El izquierdo persiste.", "Estudio normal.", True),
        ("en", "No pneumothorax. The left one persists.", "No acute findings.", True),
        ("es", "Cardiomegalia.", "Sin hallazgos patológicos.", False),
    ],
)
def test_nothing_is_called_well_beside_what_is_urgent_suspected_or_unnamed(
    language: str, findings: str, sentence: str, minds: bool
) -> None:
    (verdict,) = check(sentence, findings, language).sentences
    assert [o.kind for o in verdict.objections] == [Fault.NEGATION] * minds
