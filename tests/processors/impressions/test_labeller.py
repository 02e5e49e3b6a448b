"""The labeller against sentences labelled by hand before it was written, and its parts by case."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from processors.impressions.assertion import ASSERTED, Assertion, assertion
from processors.impressions.labeller import read, summary
from processors.impressions.lexicon import FINDINGS, concepts, lexicon
from processors.impressions.text import fold, sentences

TABLE = Path(__file__).with_name("sentences.csv")
FLOOR = 0.92


def labelled(language: str) -> list[tuple[str, dict[str, str]]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["language"] == language]
    return [
        (row["sentence"], dict(pair.split("=") for pair in row["findings"].split("; ") if pair))
        for row in rows
    ]


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_hand_labelled_sentences_are_many_and_name_known_findings(language: str) -> None:
    rows = labelled(language)
    assert len(rows) >= 150
    assert {name for _, labels in rows for name in labels} == set(FINDINGS)
    states = Counter(state for _, labels in rows for state in labels.values())
    assert set(states) == {"present", "absent", "uncertain"}
    assert min(states.values()) >= 30


@pytest.mark.parametrize("language", ["en", "es"])
def test_findings_and_states_of_the_hand_labelled_sentences(language: str) -> None:
    right = said = wanted = 0
    for sentence, labels in labelled(language):
        got = {name: str(state) for name, state in summary(read(sentence, language)).items()}
        right += len(labels.items() & got.items())
        said, wanted = said + len(got), wanted + len(labels)
    precision, recall = right / said, right / wanted
    f1 = 2 * precision * recall / (precision + recall)
    print(f"\n{language}: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} ({FLOOR})")
    assert f1 >= FLOOR


def asserted(text: str) -> set[str]:
    return {m.concept for m in read(text, "en") if m.state in ASSERTED}


@pytest.mark.shared
@pytest.mark.parametrize("joined", [" ", ", ", " - "])
def test_two_sentences_dictated_as_one_lose_next_to_nothing(shared: Path, joined: str) -> None:
    """Pairs of neighbours from Open-i's findings: in at most .01 something is lost."""
    pairs: dict[str, set[str]] = {}
    with (shared / "data/reports/openi.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            told = [s.text.strip(" .") for s in sentences(row["findings"]) if s.text.strip(" .")]
            for first, then in pairwise(told):
                both = f"{first}{joined}{then}".lower()
                both = both if joined.strip() else both.replace(",", "")
                if "xxxx" not in both and len(both) <= 200:
                    pairs[both] = asserted(f"{first}.") | asserted(f"{then}.")
    changed = [both for both, found in pairs.items() if asserted(both) != found]
    lost = [both for both in changed if pairs[both] - asserted(both)]
    print(f"\n{len(pairs)} pairs: {len(lost)} lose, {len(changed) - len(lost)} only make a finding")
    assert len(pairs) > 4000
    assert len(lost) <= 0.01 * len(pairs)


@pytest.mark.shared
def test_negated_and_uncertain_events_of_nubes(shared: Path) -> None:
    """NUBes (Lima Lopez et al., LREC 2020), validation part: floors .93 found, .10 confused."""
    tally: Counter[tuple[str, Assertion | None]] = Counter()
    lines = (shared / "data/reports/nubes_es.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        for mark in row["marks"] if row["split"] == "val" else ():
            for event in mark["events"]:
                state = assertion(fold(row["text"]), event[0][0], event[-1][1], "es")
                tally[mark["kind"], state] += 1
    kinds = Counter(kind for kind, _ in tally.elements())
    found = tally["negation", Assertion.ABSENT] / kinds["negation"]
    confused = tally["uncertainty", Assertion.ABSENT] / kinds["uncertainty"]
    print(f"\nNUBes val: negated found {found:.3f} (.93), uncertain denied {confused:.3f} (.10)")
    assert kinds["negation"] > 500
    assert found >= 0.93
    assert confused <= 0.10


@pytest.mark.parametrize(
    ("language", "text", "concept", "sides", "degrees", "sizes"),
    [
        ("en", "Small right effusion.", "pleural_effusion", "right", "mild", ()),
        ("en", "Large effusion on the left, no nodule.", "pleural_effusion", "left", "severe", ()),
        ("en", "Right effusion and left nodule.", "nodule", "left", "", ()),
        ("en", "Right effusion and left nodule.", "pleural_effusion", "right", "", ()),
        ("en", "Bilateral effusions.", "pleural_effusion", "left right", "multiple", ()),
        ("en", "3 x 2.5 cm mass in the LUL.", "mass", "left", "", (30.0, 25.0)),
        ("en", "8-mm nodule in the right upper lobe.", "nodule", "right", "", (8.0,)),
        ("es", "Nódulo de 4,5 mm en LSD.", "nodule", "right", "", (4.5,)),
        ("es", "Derrame pleural izquierdo leve.", "pleural_effusion", "left", "mild", ()),
        ("es", "Atelectasia izquierda y derrame derecho.", "atelectasis", "left", "", ()),
        ("es", "Múltiples nódulos en ambas bases.", "nodule", "left right", "multiple", ()),
    ],
)
def test_a_mention_carries_its_parts(
    language: str, text: str, concept: str, sides: str, degrees: str, sizes: tuple[float, ...]
) -> None:
    (mention,) = [m for m in read(text, language) if m.concept == concept]
    assert mention.sides == set(sides.split())
    assert mention.degrees == set(degrees.split())
    assert mention.sizes == sizes
    assert text[mention.start : mention.end].lower() in text.lower()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1. Nodule. 2. Effusion.", ["Nodule.", "Effusion."]),
        ("A 4.5 mm nodule. Dr. Doe was told.", ["A 4.5 mm nodule.", "Dr. Doe was told."]),
        ("¿Neumonía? Sin derrame.", ["¿Neumonía?", "Sin derrame."]),
        ("Heart normal..\nLungs clear", ["Heart normal..", "Lungs clear"]),
        (" . ", []),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, parts: list[str]) -> None:
    assert [span.text for span in sentences(text)] == parts
    assert all(text[s.start :].startswith(s.text) for s in sentences(text))


@pytest.mark.parametrize(
    ("language", "text", "concept", "state"),
    [
        ("en", "No evidence that the effusion has resolved.", "pleural_effusion", "uncertain"),
        ("en", "No evidence that suggests an effusion.", "pleural_effusion", "absent"),
        ("es", "Sin datos de que el derrame se haya resuelto.", "pleural_effusion", "uncertain"),
        ("es", "Sin datos de derrame.", "pleural_effusion", "absent"),
        ("en", "One of the two nodules has resolved.", "nodule", "present"),
        ("en", "None of the nodules has resolved.", "nodule", "present"),
        ("en", "None of the nodules persists.", "nodule", "absent"),
        ("en", "All of the nodules have resolved.", "nodule", "absent"),
        ("en", "One of the two left lung nodules has resolved.", "nodule", "present"),
        (
            "en",
            "Effusion in one of the two pleural spaces has resolved.",
            "pleural_effusion",
            "uncertain",
        ),
        (
            "en",
            "The effusion has resolved in one of the two sides.",
            "pleural_effusion",
            "uncertain",
        ),
        (
            "es",
            "El derrame en uno de los dos hemitórax ha desaparecido.",
            "pleural_effusion",
            "uncertain",
        ),
        ("en", "The effusion in both pleural spaces has resolved.", "pleural_effusion", "absent"),
        ("en", "No pneumothorax, no effusion, cardiomegaly.", "cardiomegaly", "present"),
        ("en", "No pneumothorax or effusion, cardiomegaly.", "cardiomegaly", "uncertain"),
        ("en", "No pneumothorax or effusion and cardiomegaly.", "cardiomegaly", "uncertain"),
        ("en", "No pneumothorax, effusion or edema, mild cardiomegaly.", "cardiomegaly", "present"),
        ("en", "No pneumothorax, effusion or cardiomegaly.", "cardiomegaly", "absent"),
        ("en", "No pneumothorax or effusion, consolidation or edema.", "edema", "absent"),
        ("en", "No acute abnormality, old granulomatous disease.", "granuloma", "present"),
        ("es", "Sin derrame, sin neumotórax, cardiomegalia.", "cardiomegaly", "present"),
        ("es", "Sin derrame ni neumotórax, fracturas costales antiguas.", "fracture", "uncertain"),
        ("en", "Tumor has not been removed.", "lesion", "present"),
        ("en", "Embolism not definitively excluded.", "embolism", "uncertain"),
        ("en", "Neg pneumothorax.", "pneumothorax", "absent"),
        ("en", "Non-displaced rib fracture.", "fracture", "present"),
        ("en", "Non-calcified nodule.", "nodule", "present"),
        ("en", "No non-calcified nodules are identified.", "nodule", "absent"),
        ("en", "No calcification of the nodule.", "nodule", "present"),
        ("en", "No air bronchograms within the consolidation.", "consolidation", "present"),
        ("en", "No rib destruction adjacent to the mass.", "mass", "present"),
        ("en", "No tension component to the pneumothorax.", "pneumothorax", "present"),
        ("en", "No evidence of the effusion.", "pleural_effusion", "absent"),
        ("en", "No sign of the previously seen effusion.", "pleural_effusion", "absent"),
        ("en", "No recurrence of the effusion.", "pleural_effusion", "absent"),
        ("es", "Sin calcificaciones en el nódulo.", "nodule", "present"),
        ("es", "Sin destrucción costal adyacente a la masa.", "mass", "present"),
        ("es", "Sin restos del derrame.", "pleural_effusion", "absent"),
        ("en", "No enlargement of the mass.", "mass", "present"),
        ("en", "No evidence of enlargement of the mass.", "mass", "present"),
        ("en", "Lack of resolution of the consolidation.", "consolidation", "present"),
        ("en", "No interval clearing of the consolidation.", "consolidation", "present"),
        ("en", "Non-resolving pneumonia.", "pneumonia", "present"),
        ("es", "Sin aumento del derrame.", "pleural_effusion", "present"),
        ("es", "No se aprecia progresión del neumotórax.", "pneumothorax", "present"),
        ("es", "Derrame prácticamente resuelto.", "pleural_effusion", "present"),
        ("en", "The pneumothorax hasn't resolved.", "pneumothorax", "present"),
        ("en", "The pneumothorax does not appear to have resolved.", "pneumothorax", "present"),
        ("en", "There isn't a pneumothorax.", "pneumothorax", "absent"),
        ("en", "The pneumothorax isn't seen.", "pneumothorax", "absent"),
        ("en", "Nodule not seen on the prior study.", "nodule", "present"),
        ("en", "Nodule not present previously.", "nodule", "present"),
        ("es", "Nódulo no presente en estudio previo.", "nodule", "present"),
        ("en", "Nodule not well seen today.", "nodule", "uncertain"),
        ("es", "No se visualiza bien el nódulo conocido.", "nodule", "uncertain"),
        ("es", "No se identifican con claridad fracturas.", "fracture", "uncertain"),
        ("en", "Negative for pneumothorax, positive for effusion.", "pleural_effusion", "present"),
        ("es", "Negativo para neumotórax, positivo para derrame.", "pleural_effusion", "present"),
        ("es", "No es una neumonía sino edema.", "edema", "present"),
        ("es", "Paciente sin fiebre, neumonía en LID.", "pneumonia", "present"),
        ("en", "Lack of lung markings suggests pneumothorax.", "pneumothorax", "uncertain"),
        ("en", "No finding suggests pneumonia.", "pneumonia", "absent"),
        ("en", "Without findings suggestive of pneumonia.", "pneumonia", "absent"),
        ("en", "Opacity without volume loss suggests pneumonia.", "pneumonia", "uncertain"),
        ("es", "Ausencia de trama, compatible con neumotórax.", "pneumothorax", "uncertain"),
        ("es", "Sin nódulos sospechosos de malignidad.", "malignancy", "absent"),
        ("en", "Right effusion essentially resolved.", "pleural_effusion", "present"),
        ("en", "No progression to consolidation.", "consolidation", "absent"),
        ("en", "No response of the pneumonia to treatment.", "pneumonia", "present"),
        ("en", "No changes of pneumonia.", "pneumonia", "absent"),
        ("en", "No increase in interstitial markings.", "interstitial_pattern", "absent"),
        ("es", "Sin aumento de la trama intersticial.", "interstitial_pattern", "absent"),
        ("es", "Sin progresión a consolidación.", "consolidation", "absent"),
        ("es", "Sin cardiomegalia, pinzamiento del seno derecho.", "blunted_angle", "uncertain"),
        ("es", "Resolución del derrame y aparición de condensación.", "consolidation", "present"),
        ("en", "Resolution of the effusion and new consolidation.", "consolidation", "present"),
        ("en", "No right heart strain.", "heart_strain", "absent"),
        ("es", "La ausencia de trama sugiere neumotórax.", "pneumothorax", "uncertain"),
        ("es", "Sin datos que sugieran neumonía.", "pneumonia", "absent"),
        ("en", "No more than a trace effusion.", "pleural_effusion", "present"),
        ("en", "No findings besides a nodule.", "nodule", "present"),
        ("es", "No otros hallazgos aparte del derrame.", "pleural_effusion", "present"),
        ("es", "Sin desviación mediastínica pese al neumotórax.", "pneumothorax", "present"),
        ("en", "No aneurysm identified, subarachnoid hemorrhage.", "bleeding", "uncertain"),
        ("en", "No aneurysm is seen, subarachnoid hemorrhage or infarct.", "bleeding", "absent"),
        ("en", "No fracture identified, or dislocation.", "dislocation", "absent"),
        ("es", "Sin aneurisma identificado, hemorragia.", "bleeding", "uncertain"),
        ("en", "Resolution of the effusion, new consolidation.", "consolidation", "present"),
        ("en", "Resolution of effusion, consolidation and edema.", "consolidation", "absent"),
        ("en", "Negative PE study, right lower lobe pneumonia.", "pneumonia", "present"),
        ("en", "Negative CT for pulmonary embolism.", "embolism", "absent"),
        ("en", "Patient denies trauma, rib fracture seen.", "fracture", "present"),
        ("es", "Paciente que niega traumatismo, fractura costal.", "fracture", "present"),
        ("es", "Retirada de tubo de tórax, neumotórax apical.", "pneumothorax", "present"),
        ("en", "No effusion, new consolidation.", "consolidation", "present"),
        ("en", "No effusion, new consolidation or edema.", "consolidation", "absent"),
        ("en", "Previously seen left effusion resolved, new nodule.", "nodule", "present"),
        ("en", "No cause for the pneumoperitoneum is seen.", "free_air", "present"),
        ("en", "No shift from the subdural hematoma.", "bleeding", "present"),
        ("en", "No callus at the fracture site.", "fracture", "present"),
        ("en", "No evidence for the effusion.", "pleural_effusion", "absent"),
        ("en", "Resolution of edema and of the effusion.", "pleural_effusion", "absent"),
        ("en", "Multiple nodules, none calcified.", "calcification", "absent"),
        ("en", "Nothing to suggest pneumothorax.", "pneumothorax", "absent"),
        ("en", "Fracture excluded.", "fracture", "absent"),
        ("en", "Pneumothorax has not developed.", "pneumothorax", "absent"),
        ("es", "Sin causa para el neumoperitoneo.", "free_air", "present"),
        ("es", "Resolución del neumotórax y del derrame.", "pleural_effusion", "absent"),
        ("es", "Resolución completa del neumotórax.", "pneumothorax", "absent"),
        ("es", "Sin aparición de nuevas lesiones.", "lesion", "absent"),
        ("es", "No se observa aparición de nódulos.", "nodule", "absent"),
        ("es", "Sin reproducción del derrame.", "pleural_effusion", "absent"),
        ("es", "Aparición de nódulos.", "nodule", "present"),
        ("es", "No persiste el derrame.", "pleural_effusion", "absent"),
        ("es", "Nada que sugiera neumonía.", "pneumonia", "absent"),
        ("es", "Derrame no evidente.", "pleural_effusion", "absent"),
        ("en", "Lack of lung markings compatible with edema.", "edema", "uncertain"),
        ("en", "Absent lung sliding, suspicious for edema.", "edema", "uncertain"),
        ("en", "No lung sliding, suspicious for pneumothorax.", "pneumothorax", "uncertain"),
        ("en", "No opacity suspicious for pneumonia.", "pneumonia", "absent"),
        ("es", "Ausencia de trama compatible con neumotórax.", "pneumothorax", "uncertain"),
        ("es", "Sin flujo en arteria lobar, compatible con embolia.", "embolism", "uncertain"),
        ("es", "Ausencia de lesiones compatibles con metástasis.", "metastasis", "absent"),
        ("en", "No findings consistent with pneumonia.", "pneumonia", "absent"),
        ("en", "No lesion consistent with metastasis.", "metastasis", "absent"),
        ("en", "No enhancement, consistent with edema.", "edema", "present"),
        ("en", "Fractures, effusions and nodules are not seen.", "fracture", "absent"),
        ("en", "Fractures, effusions, and nodules are not seen.", "fracture", "absent"),
        ("en", "Fracture of the rib, effusion and nodule are seen.", "fracture", "present"),
        ("en", "No gallstones, 3 cm mass.", "mass", "present"),
        ("en", "No effusion, nodules larger than 4 mm.", "nodule", "absent"),
        ("es", "Sin neumotórax, nódulo de 12 mm.", "nodule", "present"),
        ("es", "Sin derrame, nódulos mayores de 4 mm.", "nodule", "absent"),
        ("es", "Sin derrame, nódulos de más de 4 mm.", "nodule", "absent"),
        ("es", "Sin adenopatías, masa espiculada en mama izquierda.", "mass", "present"),
        ("en", "No effusion, free air under the diaphragm.", "free_air", "uncertain"),
        ("en", "No PE, aortic dissection is seen.", "dissection", "uncertain"),
        ("en", "Not intubated, right pneumothorax.", "pneumothorax", "uncertain"),
        ("en", "Mass not previously seen.", "mass", "present"),
        ("en", "Pneumothorax not present on yesterday's film.", "pneumothorax", "present"),
        ("en", "No effusions, infiltrates.", "infiltrate", "absent"),
        ("en", "No effusion, acute fracture.", "fracture", "absent"),
        ("en", "No acute, displaced rib fractures.", "fracture", "absent"),
        ("en", "No effusion, nodules or masses in the lungs.", "nodule", "absent"),
        ("es", "No se ve aneurisma, hemorragia subaracnoidea.", "bleeding", "uncertain"),
        ("es", "No se observa derrame, condensación.", "consolidation", "absent"),
        ("en", "One of the lines is out and pneumothorax resolved.", "pneumothorax", "absent"),
        ("es", "Ninguno de los nódulos ha desaparecido.", "nodule", "present"),
        ("es", "Ningún derrame.", "pleural_effusion", "absent"),
        ("en", "No evidence that the effusion has increased.", "pleural_effusion", "uncertain"),
        ("en", "No evidence that this nodule is malignant.", "nodule", "uncertain"),
        ("en", "No evidence that this nodule is malignant.", "malignancy", "absent"),
        ("en", "No evidence that the patient's pneumonia has worsened.", "pneumonia", "uncertain"),
        ("en", "No evidence that the effusion is present.", "pleural_effusion", "absent"),
        ("en", "No evidence that the patient has pneumonia.", "pneumonia", "absent"),
        ("en", "No evidence that there is a pneumothorax.", "pneumothorax", "absent"),
        ("en", "Without evidence that the effusion has cleared.", "pleural_effusion", "uncertain"),
        ("en", "It is not clear that the effusion has resolved.", "pleural_effusion", "uncertain"),
        ("es", "Sin evidencia de que la masa sea maligna.", "mass", "uncertain"),
        ("es", "Sin datos de que el derrame persista.", "pleural_effusion", "absent"),
        ("en", "No pneumothorax, no mass, bilateral effusions.", "pleural_effusion", "present"),
        ("es", "Sin neumotórax, derrame pleural bilateral.", "pleural_effusion", "present"),
        ("es", "Sin masas o derrame, infiltrados en ambos pulmones.", "infiltrate", "present"),
        ("en", "No PE in the central arteries, segmental not excluded.", "embolism", "uncertain"),
        (
            "en",
            "No PE in the main or lobar arteries, segmental branches cannot be excluded.",
            "embolism",
            "uncertain",
        ),
        ("en", "No left effusion, small right not excluded.", "pleural_effusion", "uncertain"),
        ("es", "Sin derrame izquierdo, no se excluye derecho.", "pleural_effusion", "uncertain"),
        ("en", "No mass or effusion, small nodule cannot be excluded.", "nodule", "uncertain"),
        ("en", "No PE or mass, small nodule is suspected or excluded.", "mass", "absent"),
        ("es", "Sin masas ni derrame, neumotórax no descartado.", "pneumothorax", "uncertain"),
        ("es", "Sin TEP, no pudiendo descartarse periférico.", "embolism", "uncertain"),
        ("en", "The two nodules have resolved.", "nodule", "absent"),
        ("es", "Uno de los dos nódulos ha desaparecido.", "nodule", "present"),
        (
            "en",
            "No pneumothorax or consolidation, bilateral effusions.",
            "pleural_effusion",
            "present",
        ),
        ("en", "No pneumothorax, bilateral effusions or mass.", "pleural_effusion", "absent"),
        ("en", "No pneumothorax, bilateral effusions.", "pleural_effusion", "present"),
        ("en", "No pneumothorax, nodules, bilateral effusions.", "pleural_effusion", "absent"),
        ("es", "Sin neumotórax ni masas, derrames bilaterales.", "pleural_effusion", "present"),
        ("es", "Sin neumotórax, derrames bilaterales ni masas.", "pleural_effusion", "absent"),
        ("es", "Se descarta TEP central, no se descarta segmentario.", "embolism", "uncertain"),
        ("es", "Se descarta TEP, no se descarta neumonía.", "embolism", "absent"),
        ("en", "No central PE, subsegmental cannot be excluded.", "embolism", "uncertain"),
        ("en", "No central PE, small effusion cannot be excluded.", "embolism", "absent"),
    ],
)
def test_what_a_denial_leaves_there(language: str, text: str, concept: str, state: str) -> None:
    assert {m.state.value for m in read(text, language) if m.concept == concept} == {state}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Left effusion has resolved, the right one persists."),
        ("en", "Resolved left effusion, the right is unchanged."),
        ("es", "El derrame izquierdo se ha resuelto, el derecho persiste."),
        ("en", "Left pneumothorax resolved, right persists."),
        ("es", "Neumotórax izquierdo resuelto, derecho persiste."),
    ],
)
def test_the_other_side_of_what_is_gone_is_still_there(language: str, text: str) -> None:
    found = [(m.state.value, set(m.sides)) for m in read(text, language)]
    assert found == [("absent", {"left"}), ("present", {"right"})]


def test_folding_keeps_every_character_in_its_place() -> None:
    text = "Neumotórax ÑANDÚ, XXXX ½ ﬁ ẞ"
    assert len(fold(text)) == len(text)
    assert fold("Neumotórax ÑANDÚ XXXX.") == "neumotorax nandu     ."


def test_several_mentions_are_kept_and_the_gravest_state_sums_them_up() -> None:
    mentions = read("No pneumothorax. Later: small apical pneumothorax.", "en")
    assert [m.state for m in mentions] == [Assertion.ABSENT, Assertion.PRESENT]
    assert summary(mentions) == {"pneumothorax": Assertion.PRESENT}


def test_both_languages_name_the_same_concepts() -> None:
    for language in ("en", "es"):
        named = set(lexicon(language).concepts.groupindex)
        named |= {structure.concept for structure in lexicon(language).structures}
        assert named == set(concepts())
    assert {c.finding for c in concepts().values()} - {""} == set(FINDINGS)


def test_a_language_without_phrases_is_refused() -> None:
    with pytest.raises(ValueError, match="No phrase list for 'de'"):
        read("Kein Pneumothorax.", "de")


def test_a_report_is_read_in_less_than_a_millisecond() -> None:
    reports = [
        f"The heart is {size} enlarged. Small left effusion of {n} mm. No pneumothorax or "
        "focal consolidation. Calcified granuloma in the right upper lobe, unchanged."
        for size in ("mildly", "not", "markedly")
        for n in range(100)
    ]
    times = []
    for report in reports:
        begin = time.process_time()
        read(report, "en")
        times.append(time.process_time() - begin)
    assert sorted(times)[len(times) // 2] < 1e-3


@pytest.mark.parametrize(
    ("language", "text", "told"),
    [
        # what a denial does not reach
        ("en", "Left effusion after chest tube removal.", "pleural_effusion+L tube-"),
        ("en", "The pneumothorax has recurred after drain removal.", "pneumothorax+"),
        ("en", "Resolution of left effusion, new right effusion.", "effusion-L effusion+R"),
        ("en", "Resolved right effusion, left effusion persists.", "effusion-R effusion+L"),
        ("en", "No right effusion, left effusion is unchanged.", "effusion-R effusion+L"),
        ("en", "Near complete resolution of the left pneumothorax.", "pneumothorax+L"),
        ("en", "Incomplete resolution of the pneumonia.", "pneumonia+"),
        ("en", "no ptx no effusion left rib fracture", "pneumothorax- effusion- fracture+L"),
        ("en", "no effusion heart normal", "effusion- cardiomegaly-"),
        ("en", "No effusion the right lung shows a large mass", "effusion- mass+R"),
        ("es", "Neumotórax izquierdo tras retirar drenaje.", "pneumothorax+L tube-"),
        ("es", "Se retira drenaje, apareciendo neumotórax leve.", "tube- pneumothorax+"),
        ("es", "Sin derrame derecho, derrame izquierdo estable.", "effusion-R effusion+L"),
        ("es", "Neumotórax parcialmente resuelto.", "pneumothorax+"),
        ("es", "no neumotorax derrame izquierdo moderado", "pneumothorax- effusion+L"),
        ("es", "no derrame corazon normal", "effusion- cardiomegaly-"),
        ("es", "Mínimo neumotórax residual.", "pneumothorax+"),
        ("en", "No PTX, L effusion, RLL mass.", "pneumothorax- effusion+L mass+R"),
        ("es", "No derrame, neumotórax izquierdo de 2 cm.", "effusion- pneumothorax+L"),
        ("es", "No derrame, no neumotórax, consolidación en LID.", "effusion- pneumothorax- "
         "consolidation+R"),
        # what it does reach
        ("en", "No effusion, pneumothorax, or left nodule.", "effusion- pneumothorax- nodule-L"),
        ("es", "Sin adenopatías, nódulos, masas bilaterales.", "adenopathy- nodule- mass-LR"),
        ("en", "No consolidation, pneumothorax or effusion persists.", "consolidation- "
         "pneumothorax- effusion-"),
        ("en", "No calcified left hilar adenopathy.", "calcification- adenopathy-L"),
        ("en", "No right nodule, left nodule, or left effusion.", "nodule-R nodule-L effusion-L"),
        ("en", "Findings are not consistent with pneumonia.", "pneumonia-"),
        ("en", "Aorta is not tortuous. Angles: CP angles not blunted.", "aortic_ectasia- "
         "blunted_angle-"),
        ("en", "Tip is not in the right main bronchus.", "malposition-R tube-R"),
        ("en", "Pneumothorax - no. Effusion - yes.", "pneumothorax- effusion+"),
        ("es", "Mediastino no ensanchado. Ganglios no aumentados.", "enlarged_mediastinum- "
         "adenopathy-"),
        # the other of two, which no "or" joins
        ("en", "No obstruction, free intraperitoneal air.", "free_air?"),
        ("en", "No suspicious, noncalcified nodule.", "nodule-"),
        ("en", "No pneumothorax, pleural effusion.", "pneumothorax- effusion-"),
        ("es", "No derrame no neumotórax cardiomegalia.", "effusion- pneumothorax- cardiomegaly?"),
        ("en", "No effusion no pneumothorax fracture.", "effusion- pneumothorax- fracture?"),
        ("en", "No evidence of tuberculosis infection.", "tuberculosis- infection-"),
        ("es", "No se identifica neumotórax se identifica derrame.", "pneumothorax- effusion+"),
        ("en", "No known malignancy new nodule.", "malignancy- nodule?"),
        ("es", "No se ven infiltrados llama la atención nódulo en LID.", "infiltrate- nodule+R"),
        ("es", "No hay infiltrados se asocia derrame.", "infiltrate- effusion+"),
        ("es", "Sin otros hallazgos que el derrame conocido.", "effusion+"),
        ("es", "No hay neumotórax persiste derrame.", "pneumothorax- effusion+"),
        ("es", "No existiendo derrame pleural.", "effusion-"),
        ("es", "Tampoco se observa neumotórax.", "pneumothorax-"),
        ("es", "Casi no hay derrame.", "effusion?"),
        ("en", "Lungs devoid of nodules.", "nodule-"),
        # what goes on behind what is gone, as dictated
        ("es", "Se descarta neumotórax persistiendo el derrame.", "pneumothorax- effusion+"),
        ("es", "Sin neumotórax se mantiene el derrame.", "pneumothorax- effusion+"),
        ("es", "Sin neumotórax queda derrame residual.", "pneumothorax- effusion+"),
        ("es", "Sin neumotórax sigue habiendo derrame.", "pneumothorax- effusion+"),
        ("es", "El neumotórax se ha resuelto derrame estable.", "pneumothorax- effusion+"),
        ("es", "Derrame estable neumotórax resuelto.", "effusion+ pneumothorax-"),
        ("es", "Persiste derrame se ha resuelto el neumotórax.", "effusion+ pneumothorax-"),
        ("en", "Pneumothorax resolved effusion stable.", "pneumothorax- effusion+"),
        ("en", "Pneumothorax resolved effusion.", "pneumothorax- effusion?"),
        ("en", "Effusion stable pneumothorax resolved.", "effusion+ pneumothorax-"),
        ("en", "No pneumothorax is seen effusion remains.", "pneumothorax- effusion?"),
        ("en", "The ETT has not been repositioned and remains in the right main bronchus.",
         "malposition+R tube+R"),
        ("es", "No se ha recolocado el tubo y sigue en bronquio derecho.", "malposition+R tube+R"),
        # each thing with its word behind it
        ("en", "Effusion absent pneumothorax present.", "effusion- pneumothorax+"),
        ("en", "Effusion present pneumothorax absent.", "effusion+ pneumothorax-"),
        ("en", "Pneumothorax yes effusion no.", "pneumothorax+ effusion-"),
        ("en", "Effusion no, pneumothorax yes, nodule no.", "effusion- pneumothorax+ nodule-"),
        ("en", "Effusion not seen pneumothorax seen.", "effusion- pneumothorax+"),
        ("en", "Effusion absent.", "effusion-"),
        ("en", "Effusion absent, pneumothorax on the left.", "effusion- pneumothorax+L"),
        ("en", "Effusion present no pneumothorax.", "effusion+ pneumothorax-"),
        ("en", "Possible effusion present.", "effusion?"),
        ("en", "No effusion present.", "effusion-"),
        ("es", "Derrame ausente neumotórax presente.", "effusion- pneumothorax+"),
        ("es", "Derrame sí neumotórax no.", "effusion+ pneumothorax-"),
        ("es", "Neumotórax derecho visible derrame no visible.", "pneumothorax+R effusion-"),
        ("es", "No derrame no neumotórax.", "effusion- pneumothorax-"),
        # a degree or an age of its own, behind an "and"
        ("es", "Sin neumotórax y derrame residual.", "pneumothorax- effusion+"),
        ("es", "No hay derrame y nódulo pulmonar estable.", "effusion- nodule+"),
        ("es", "No hay derrame y neumotórax a tensión.", "effusion- pneumothorax-"),
        ("en", "No pneumothorax and unchanged effusion.", "pneumothorax- effusion+"),
        # well, but for a place
        ("en", "Costophrenic angles are clear except on the left.", "clear_angle?L"),
        ("es", "Senos costofrénicos libres salvo el izquierdo.", "clear_angle?L"),
        ("en", "Lungs clear except the right base.", "clear_lungs?R"),
        ("en", "Lungs are clear except for a nodule.", "clear_lungs- nodule+"),
        # what is to be asked, or would not be seen
        ("en", "Follow-up to document resolution of the pneumonia.", "pneumonia+"),
        ("es", "Control para confirmar la resolución de la neumonía.", "pneumonia+"),
        ("en", "Repeat film to confirm absence of pneumothorax.", ""),
        ("es", "Repetir para confirmar ausencia de neumotórax.", ""),
        ("en", "An expiratory film would exclude pneumothorax.", ""),
        ("es", "El decúbito limita la detección de neumotórax.", ""),
        ("en", "A small pneumothorax could easily be missed.", "pneumothorax?"),
        ("es", "Un neumotórax podría pasar desapercibido.", "pneumothorax?"),
        ("en", "Nil effusion, ptx neg.", "effusion- pneumothorax-"),
        ("es", "Nulo derrame.", "effusion-"),
        # a thing with words of its own behind a denied one, which no "or" joins
        ("es", "Sin neumotórax infiltrados alveolares bilaterales.", "pneumothorax- infiltrate?LR"),
        ("en", "No pneumothorax bilateral infiltrates.", "pneumothorax- infiltrate?LR"),
        ("en", "No consolidation linear atelectasis.", "consolidation- atelectasis?"),
        ("en", "No consolidation an effusion is seen.", "consolidation- effusion?"),
        ("en", "No effusion or pneumothorax rib fractures.", "effusion- pneumothorax- fracture?"),
        ("en", "No interstitial changes of edema.", "interstitial_pattern- edema-"),
        ("es", "Sin descartarse neumonía.", "pneumonia?"),
        ("es", "Impresión de derrame.", "effusion?"),
        ("es", "Mínima cámara apical residual.", "pneumothorax+"),
        ("es", "Líquido en cisuras.", "effusion+"),
        ("es", "Síndrome intersticial.", "interstitial_pattern+"),
        ("en", "No effusion or pneumothorax fractures of the 5th and 6th ribs.",
         "effusion- pneumothorax- fracture?"),
        ("en", "No pneumothorax a wedge-shaped opacity has developed.", "pneumothorax- opacity?"),
        ("en", "No aspiration a 3.0 cm nodule is present.", "nodule?"),
        ("en", "No pneumothorax left base opacity may represent atelectasis or pneumonia.",
         "pneumothorax- opacity+L atelectasis? pneumonia?"),
        ("en", "No pneumothorax is seen calcified granuloma is noted.",
         "pneumothorax- calcification? granuloma?"),
        ("en", "No effusion or visualized pneumothorax.", "effusion- pneumothorax-"),
        ("es", "No pinzamiento de senos costofrénicos infiltrado en lóbulo inferior izquierdo.",
         "blunted_angle- infiltrate+L"),
        ("en", "Small effusions the heart is not grossly enlarged.", "effusion+ cardiomegaly-"),
        ("en", "Heart is mildly enlarged mediastinal contour normal.",
         "cardiomegaly+ enlarged_mediastinum-"),
        ("en", "The heart is not enlarged lungs are clear.", "cardiomegaly- clear_lungs-"),
        # a dash ends a clause; an article begins one; what has words of its own behind an "and"
        ("en", "No pneumothorax - old scar in the apex.", "pneumothorax- scarring+°"),
        ("en", "Heart size normal - no pleural effusions.", "cardiomegaly- effusion-"),
        ("es", "Corazón normal - sin derrame.", "cardiomegaly- effusion-"),
        ("en", "No effusion, the opacities in the bases are old.", "effusion- opacity+LR°"),
        ("en", "No effusion and old rib fractures.", "effusion- fracture+"),
        ("en", "No pleural effusion and radiopaque foreign body.", "effusion- foreign_body?"),
        ("en", "No effusion and focal consolidation.", "effusion- consolidation-"),
        ("es", "Sin derrame y antiguas fracturas costales.", "effusion- fracture+"),
        # what is well is not turned by what is said of the next thing
        ("en", "Heart is normal and effusion has resolved.", "cardiomegaly- effusion-"),
        ("en", "Lungs clear effusion none.", "clear_lungs- effusion-"),
        ("es", "Corazón normal derrame no se aprecia.", "cardiomegaly- effusion-"),
        ("es", "Pulmones limpios derrame resuelto.", "clear_lungs- effusion-"),
        ("es", "Sin variaciones respecto al derrame previo.", "effusion+"),
        # what was not there to compare with denies nothing
        ("es", "No hay estudios previos para comparar condensación.", "consolidation+"),
        ("en", "No priors for comparison consolidation at the base.", "consolidation+"),
        # what is read with doubt
        ("es", "Hallazgos no concluyentes de neumonía.", "pneumonia?"),
        ("es", "Anemia en probable relación con neumonía.", "pneumonia?"),
        ("en", "Insufficient evidence for pneumonia.", "pneumonia?"),
        ("en", "Non-diagnostic for effusion.", "effusion?"),
        # what has not gone
        ("es", "Neumotórax no del todo resuelto.", "pneumothorax+"),
        ("es", "Se resuelve el neumotórax y persiste el derrame.", "pneumothorax- effusion+"),
        ("en", "Pneumothorax never resolved.", "pneumothorax+"),
        ("en", "All but resolved effusion.", "effusion+"),
        ("es", "No ha desaparecido el derrame.", "effusion+"),
        ("es", "No se ha reabsorbido el derrame.", "effusion+"),
        ("es", "No disminuye el derrame.", "effusion+"),
        ("es", "No mejora la condensación.", "consolidation+"),
        ("es", "Falta de resolución de la neumonía.", "pneumonia+"),
        ("es", "El derrame prácticamente se ha resuelto.", "effusion+"),
        ("es", "El derrame se ha resuelto casi por completo.", "effusion+"),
        ("es", "El derrame se ha resuelto parcialmente.", "effusion+"),
        ("es", "Casi desaparición del derrame.", "effusion+"),
        ("en", "Effusion almost gone.", "effusion+"),
        # what nobody saw before
        ("es", "Nódulo no claramente visible en estudio previo.", "nodule+"),
        ("es", "Nódulo no identificado en estudios previos.", "nodule+"),
        ("en", "Not a new nodule.", "nodule+"),
        ("es", "No es un nódulo nuevo.", "nodule+"),
        # what one projection does not show
        ("es", "Condensación no visible en la lateral.", "consolidation?"),
        ("en", "Consolidation not seen on the lateral view.", "consolidation?"),
        # what is denied behind its name, now
        ("es", "El derrame no se aprecia en el control actual.", "effusion-"),
        ("es", "El neumotórax no se visualiza en la radiografía actual.", "pneumothorax-"),
        ("es", "Derrame no visible en el estudio actual.", "effusion-"),
        ("es", "Derrame no visible en el estudio previo.", "effusion+"),
        ("es", "Sin evidencia actual del neumotórax previo.", "pneumothorax-"),
        ("es", "Neumotórax (-). Derrame pleural (+).", "pneumothorax- effusion+"),
        ("es", "Derrame izquierdo no se aprecia neumotórax.", "effusion+L pneumothorax-"),
        ("es", "Cardiomegalia no se identifica derrame.", "cardiomegaly+ effusion-"),
        ("es", "Carcinoma de alto grado -- no se observa infiltración.", "malignancy+ infiltrate-"),
        # the other side, without the name
        ("en", "No effusion on the right but one on the left.", "effusion-R effusion+L"),
        ("en", "Effusion on the left, none on the right.", "effusion+L"),
        ("en", "Pneumothorax is on the right but not on the left.", "pneumothorax+R"),
        ("en", "It resolved: effusion gone on the right but persists on the left.", "effusion-R "
         "effusion+L"),
        ("es", "No neumotórax en el lado derecho, pero sí en el izquierdo.", "pneumothorax-R "
         "pneumothorax+L"),
        ("es", "Derrame en el lado izquierdo, no en el derecho.", "effusion+L"),
        ("es", "Desaparece el derrame derecho, persiste el izquierdo.", "effusion-R effusion+L"),
        # doubt
        ("es", "No se descarta neumonía.", "pneumonia?"),
        ("es", "No se ha descartado neumotórax.", "pneumothorax?"),
        ("es", "Opacidad sin poder excluir neumotórax.", "opacity+ pneumothorax?"),
        ("es", "No puedo excluir neumotórax.", "pneumothorax?"),
        ("es", "No se excluye neumotórax.", "pneumothorax?"),
        ("es", "Se descarta neumonía.", "pneumonia-"),
        ("es", "Estudio no diagnóstico para TEP.", "embolism?"),
        ("es", "No se puede asegurar la ausencia de neumotórax.", "pneumothorax?"),
        ("es", "No se ve neumotórax, pero no se puede descartar.", "pneumothorax- pneumothorax?"),
        ("en", "No pneumothorax seen, but one cannot be excluded.", "pneumothorax- pneumothorax?"),
        ("en", "No effusion, but pneumonia cannot be excluded.", "effusion- pneumonia?"),
        ("en", "The study is nondiagnostic for pulmonary embolism.", "embolism?"),
        ("en", "Pneumonia likely.", "pneumonia?"),
        ("en", "Pneumonia is not favored.", "pneumonia?"),
        ("en", "Possible edema, infection or effusion.", "edema? infection? effusion?"),
        # one of two
        ("en", "Healed right and acute left clavicle fracture.", "fracture+LR°"),
        ("en", "Old right rib fracture and an acute left rib fracture.", "fracture+R° fracture+L"),
    ],
)  # fmt: skip
def test_how_far_a_denial_a_doubt_and_a_side_reach(language: str, text: str, told: str) -> None:
    signs = {Assertion.PRESENT: "+", Assertion.UNCERTAIN: "?", Assertion.ABSENT: "-"}
    got = [
        m.concept + signs[m.state] + "".join(sorted(s[0].upper() for s in m.sides)) + "°" * m.old
        for m in read(text, language)
    ]
    assert [g.removeprefix("pleural_") for g in got] == [
        t.removeprefix("pleural_") for t in told.split()
    ]


@pytest.mark.parametrize(
    ("language", "text", "concepts"),
    [
        ("en", "NG tube tip projects over the right lower lobe bronchus.", "malposition"),
        ("en", "The ET tube is in the esophagus.", "malposition"),
        ("en", "Central line in the carotid artery.", "malposition"),
        ("en", "Enteric tube courses through the esophagus into the stomach.", ""),
        ("en", "Right IJ catheter with its tip in the SVC.", ""),
        ("es", "Sonda de alimentación en bronquio izquierdo.", "malposition"),
        ("es", "Catéter en vena yugular con punta en cava superior.", ""),
        ("en", "The left lower lobe is collapsed.", "lobar_collapse"),
        ("es", "Lóbulo inferior izquierdo colapsado.", "lobar_collapse"),
        ("en", "Whiteout of the left lung.", "whiteout"),
        ("es", "Opacificación completa del hemitórax izquierdo.", "whiteout"),
        ("en", "Filling defects in the segmental arteries.", "embolism"),
        ("en", "Intimal flap in the aorta. Hemopericardium.", "dissection tamponade"),
        ("es", "Perforación esofágica. Absceso pulmonar.", "perforation abscess"),
        ("en", "Deep sulcus sign on the left.", "deep_sulcus"),
        ("en", "Side port outside of the thoracic cavity.", ""),
        ("en", "Chest tube side port outside the pleural space.", "malposition"),
        ("en", "Tip in the stomach, side hole beyond the GE junction.", ""),
        ("es", "Drenaje con orificio lateral fuera de la pleura.", "malposition"),
        ("es", "Tubo a 1 cm de la carina, se recomienda retirar 2 cm.", "malposition"),
        ("es", "No se recomienda retirar el tubo.", ""),
        ("en", "Ruptured breast implant. PE protocol.", ""),
        ("en", "Inguinal hernia.", ""),
        ("es", "Hernia discal que comprime la médula.", "cord_compression"),
        ("en", "Epidural abscess compressing the spinal cord.", "abscess cord_compression"),
        ("en", "The cord is not compressed.", ""),
        ("en", "Acute fx of the left 5th rib.", "fracture"),
        ("es", "Gas bajo el diafragma. Aire subdiafragmático.", "free_air free_air"),
        ("en", "Gas under the right hemidiaphragm. Subphrenic air.", "free_air free_air"),
        ("es", "Colapso de LSD. Pulmón derecho blanco.", "lobar_collapse whiteout"),
        ("en", "RUL collapse. Collapsed LLL.", "lobar_collapse lobar_collapse"),
        ("es", "Enfisema de partes blandas. Enfisema.", "subcutaneous_emphysema emphysema"),
        ("en", "Left chest wall emphysema. Emphysema.", "subcutaneous_emphysema emphysema"),
        ("es", "Mediastino desplazado a la derecha.", "mediastinal_shift"),
        ("en", "The mediastinum is shifted to the left.", "mediastinal_shift"),
        ("es", "Moneda en esófago. Ingesta de pila.", "foreign_body foreign_body"),
        ("en", "Swallowed battery. No rib destruction.", "foreign_body"),
        ("es", "Suelta de globos. Patrón miliar.", "metastasis nodule"),
        ("en", "CTR of 0.58. Cardiothoracic ratio 0.48.", "cardiomegaly"),
        (
            "es",
            "ICT 0,6. Pérdida de altura de cuerpo vertebral.",
            "cardiomegaly compression_fracture",
        ),
    ],
)
def test_what_must_not_be_missed_is_known_by_its_other_names(
    language: str, text: str, concepts: str
) -> None:
    got = [m.concept for m in read(text, language) if m.state in ASSERTED]
    assert [c for c in got if c not in ("tube", "line", "pacemaker")] == concepts.split()


@pytest.mark.parametrize(
    ("language", "text", "state"),
    [
        ("en", "Fractures may not be demonstrated.", Assertion.UNCERTAIN),
        ("en", "A small pneumothorax might not be visible.", Assertion.UNCERTAIN),
        ("en", "Fractures are not demonstrated.", Assertion.ABSENT),
        ("en", "Fracture excluded.", Assertion.ABSENT),
        ("en", "Fracture has not been excluded.", Assertion.UNCERTAIN),
        ("en", "Fracture not yet excluded.", Assertion.UNCERTAIN),
        ("en", "Pneumothorax cannot be confidently excluded.", Assertion.UNCERTAIN),
        ("en", "Fracture must be excluded.", Assertion.UNCERTAIN),
        ("en", "Fracture needs to be ruled out.", Assertion.UNCERTAIN),
        ("es", "Fractura pendiente de descartar.", Assertion.UNCERTAIN),
        ("es", "La fractura debe ser descartada.", Assertion.UNCERTAIN),
        ("es", "Neumotórax no descartable.", Assertion.UNCERTAIN),
        ("es", "Las fracturas pueden no ser visibles.", Assertion.UNCERTAIN),
        ("es", "Un neumotórax pequeño puede no apreciarse.", Assertion.UNCERTAIN),
        ("es", "No se aprecia neumotórax.", Assertion.ABSENT),
    ],
)
def test_what_the_examination_may_miss_is_not_denied(
    language: str, text: str, state: Assertion
) -> None:
    assert [m.state for m in read(text, language)] == [state]
