"""The words of the reports in the two languages of the node, and how numbers are said.

Decides wording only; which facts are said is content.py's. Never: a certainty of 0 or 100 %, a
number that hides on which side of the threshold it lies, a word that sounds final.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from processors.analysis import Code, State


@dataclass(frozen=True, slots=True)
class Words:
    """One language. Texts with {} are filled by the writers."""

    language: Code
    hl7_language: tuple[str, str]
    draft: str
    states: dict[State, str]
    original: str
    outline: str
    extent: str
    no_outline: str
    enlarged: str
    reduced: str
    threshold: str
    band: str
    model: str
    unknown: str
    tested: str
    distance: str
    not_shown: str
    not_tested: str
    synthetic: str
    less: str
    more: str
    unchanged: str
    answer: str
    evidence: str
    evidence_for: str
    map: str
    map_for: str
    map_note: str
    methods: dict[str, str]
    checks: dict[str, str]
    at_least: str
    at_most: str
    failed: str
    more_findings: str
    more_findings_alone: str
    more_notes: str
    more_notes_alone: str
    not_assessed: str
    no_findings: str
    dictated: str
    note: str
    replaces: str
    rests_on: str
    urgency: str
    urgencies: dict[int, str]
    certainty: str
    undetermined_why: str
    no_hl7: str
    series: dict[str, str]
    derivation: dict[str, str]
    decimal: str


EN = Words(
    language=Code("en", "RFC5646", "English"),
    hl7_language=("en", "English"),
    draft="AI DRAFT - not for diagnostic use",
    states={
        State.PRESENT: "PRESENT",
        State.ABSENT: "absent",
        State.UNDETERMINED: "UNDETERMINED",
    },
    original="Original",
    outline="Outline: basis of the answer, not a location",
    extent="Outline as the model drew it, not verified",
    no_outline="Original. No outline: the answer concerns the whole image",
    enlarged="enlarged, do not measure",
    reduced="reduced, do not measure",
    threshold="threshold {}",
    band="undetermined from {} to {}",
    model="Model {}   program {}   weights {}",
    unknown="unknown",
    tested="Explanation tested: {} of {} checks passed",
    distance="the answer turns at {} of the way",
    not_shown="EXPLANATION NOT SHOWN: {}",
    not_tested="No tested explanation of this answer",
    synthetic="SYNTHETIC",
    less="less",
    more="more",
    unchanged="unchanged",
    answer="Model's answer to this picture: {}",
    evidence="Evidence: orange raises, blue lowers it",
    evidence_for="Evidence: orange raises the answer",
    map="orange raises the answer, blue lowers it",
    map_for="orange raises the answer; what lowers it is not shown",
    map_note="The map shows what the model uses, not where a disease is. Not for measurement.",
    methods={
        "traversal": "Strip",
        "gradcam": "Grad-CAM",
        "occlusion": "Occlusion",
        "lime": "LIME",
        "shap": "SHAP",
    },
    checks={
        "deletion_area": "answer while what it names is erased",
        "insertion_area": "answer while only that is shown",
        "map_stability": "rank correlation under other settings",
        "map_in_organ": "share in the organ",
        "surrogate_fit": "R² of the simple model",
        "network_agreement": "difference of the two networks",
    },
    at_least="at least {}",
    at_most="at most {}",
    failed="FAILED",
    more_findings="{} more in the text report",
    more_findings_alone="{} more, not shown here",
    more_notes="Further notes in the text report: {}",
    more_notes_alone="Further notes, not shown here: {}",
    not_assessed="Not assessed because: {}",
    no_findings="The model names no finding.",
    dictated="Findings as they were dictated; no image was judged:",
    note="Note: {}",
    replaces="Replaces the earlier preliminary result {}.",
    rests_on="Rests on: {}.",
    urgency="Urgency of this draft: {} (categories of the ACR; by rule, not reviewed).",
    urgencies={1: "category 1, minutes", 2: "category 2, hours", 3: "category 3, days"},
    certainty="certainty {}",
    undetermined_why="{}: undetermined, certainty {} lies between {} and {} (threshold {}).",
    no_hl7="No HL7 message of this result: the images carry no Patient ID.",
    series={
        "overlay": "AI DRAFT evidence overlay - not for diagnostic use",
        "strip": "AI DRAFT synthetic series - not for diagnostic use",
        "map": "AI DRAFT evidence map - not for diagnostic use",
        "structured_report": "AI DRAFT findings - not for diagnostic use",
        "segmentation": "AI DRAFT segmentation - not for diagnostic use",
        "text_report": "AI DRAFT text report - not for diagnostic use",
    },
    derivation={
        "overlay": "Picture for reading beside the original: the source image {}, and the same with"
        " the outline of what the model's answer rests on. Not for measurement.",
        "strip": "Images synthesised by a model while it moves along one finding; not pictures of"
        " the patient. Not for measurement.",
        "map": "Picture for reading beside the original: the source image {}, and the same under a"
        " map of what the model's answer rests on. Not for measurement.",
    },
    decimal=".",
)

ES = Words(
    language=Code("es", "RFC5646", "Spanish"),
    hl7_language=("es", "Spanish"),
    draft="BORRADOR DE IA - no apto para diagnóstico",
    states={
        State.PRESENT: "PRESENTE",
        State.ABSENT: "ausente",
        State.UNDETERMINED: "INDETERMINADO",
    },
    original="Original",
    outline="Contorno: base de la respuesta, no localiza",
    extent="Contorno trazado por el modelo, sin verificar",
    no_outline="Original. Sin contorno: la respuesta se refiere a toda la imagen",
    enlarged="ampliado, no medir",
    reduced="reducido, no medir",
    threshold="umbral {}",
    band="indeterminado de {} a {}",
    model="Modelo {}   programa {}   pesos {}",
    unknown="desconocidos",
    tested="Explicación comprobada: supera {} de {} pruebas",
    distance="la respuesta cambia al {} del camino",
    not_shown="EXPLICACIÓN NO MOSTRADA: {}",
    not_tested="Sin explicación comprobada de esta respuesta",
    synthetic="IMAGEN SINTÉTICA",
    less="menos",
    more="más",
    unchanged="sin cambio",
    answer="Respuesta del modelo a esta imagen: {}",
    evidence="Evidencia: naranja la sube, azul la baja",
    evidence_for="Evidencia: naranja sube la respuesta",
    map="naranja sube la respuesta, azul la baja",
    map_for="naranja sube la respuesta; lo que la baja no se muestra",
    map_note="El mapa muestra lo que usa el modelo, no dónde hay enfermedad. No apto para medir.",
    methods={
        "traversal": "Tira",
        "gradcam": "Grad-CAM",
        "occlusion": "Oclusión",
        "lime": "LIME",
        "shap": "SHAP",
    },
    checks={
        "deletion_area": "respuesta al borrar lo señalado",
        "insertion_area": "respuesta al mostrar solo lo señalado",
        "map_stability": "correlación de rangos con otros ajustes",
        "map_in_organ": "parte dentro del órgano",
        "surrogate_fit": "R² del modelo sencillo",
        "network_agreement": "diferencia entre las dos redes",
    },
    at_least="al menos {}",
    at_most="como mucho {}",
    failed="NO SUPERADA",
    more_findings="{} más en el informe de texto",
    more_findings_alone="{} más que no se muestran aquí",
    more_notes="Otras notas en el informe de texto: {}",
    more_notes_alone="Otras notas que no se muestran aquí: {}",
    not_assessed="No valorado porque: {}",
    no_findings="El modelo no nombra ningún hallazgo.",
    dictated="Hallazgos tal como se dictaron; no se valoró ninguna imagen:",
    note="Nota: {}",
    replaces="Sustituye al resultado preliminar anterior {}.",
    rests_on="Se basa en: {}.",
    urgency="Urgencia de este borrador: {} (categorías del ACR; según reglas, sin revisar).",
    urgencies={1: "categoría 1, minutos", 2: "categoría 2, horas", 3: "categoría 3, días"},
    certainty="certeza {}",
    undetermined_why="{}: indeterminado, certeza {} entre {} y {} (umbral {}).",
    no_hl7="Sin mensaje HL7 de este resultado: las imágenes no llevan Patient ID.",
    series={
        "overlay": "AI DRAFT contorno de evidencia - no apto para diagnóstico",
        "strip": "AI DRAFT serie sintética - no apta para diagnóstico",
        "map": "AI DRAFT mapa de evidencia - no apto para diagnóstico",
        "structured_report": "AI DRAFT hallazgos - no apto para diagnóstico",
        "segmentation": "AI DRAFT segmentación - no apta para diagnóstico",
        "text_report": "AI DRAFT informe de texto - no apto para diagnóstico",
    },
    derivation={
        "overlay": "Imagen para leer junto al original: la imagen de origen {}, y la misma con el"
        " contorno de aquello en que se basa la respuesta del modelo. No apta para medir.",
        "strip": "Imágenes sintetizadas por un modelo al recorrer un hallazgo; no son imágenes del"
        " paciente. No aptas para medir.",
        "map": "Imagen para leer junto al original: la imagen de origen {}, y la misma bajo un mapa"
        " de aquello en que se basa la respuesta del modelo. No apta para medir.",
    },
    decimal=",",
)


MOST_DECIMALS = 3  # of a percentage: a card's thresholds have as many
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")


def printable(text: str) -> str:
    """A text without control characters; line feeds stay, markup stays what it is: text."""
    return _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def words(language: Literal["en", "es"]) -> Words:
    return ES if language == "es" else EN


def percent(value: float, language: Words, *, near: Collection[float] = ()) -> str:
    """A probability as people read it: never 0 or 100 %; with the decimals that tell it from each
    of `near`, on whose sides it must be read."""
    others = [other for other in near if other != value]
    digits = 0
    while digits < MOST_DECIMALS and _rounded(value, digits) in [
        _rounded(other, digits) for other in others
    ]:
        digits += 1
    return _rounded(value, digits).replace(".", language.decimal) + " %"


def _rounded(value: float, digits: int) -> str:
    shown, step = value * 100, 10**-digits
    if shown >= 100 - step / 2:
        return f">{100 - step:.{digits}f}"
    return f"<{step:.{digits}f}" if shown < step / 2 else f"{shown:.{digits}f}"


def exact(value: float) -> float:
    """The certainty of coded items, percent with one decimal; never 0 or 100."""
    return min(99.9, max(0.1, round(value * 100, 1)))


def not_assessed(reason: str, language: Words) -> str:
    """Why a study was not assessed, said once: a gate's reason is a whole sentence already."""
    said = (EN.not_assessed.partition(" because")[0], ES.not_assessed.partition(" porque")[0])
    return reason if reason.startswith(said) else language.not_assessed.format(reason)
