"""The sentences of the gate, in Spanish and English, without anything of the patient.

Each reason stands for itself in a report; each note says what else the reader must know.
"""

from __future__ import annotations

from collections.abc import Sequence

REASONS: dict[str, tuple[str, str]] = {
    "not-an-image": (
        "el estudio no contiene ninguna imagen",
        "the study holds no image",
    ),
    "secondary-capture": (
        "la imagen es una captura secundaria, un documento o el resultado de otro programa",
        "the image is a secondary capture, a document or another program's result",
    ),
    "modality": (
        "el modelo solo valora {modalities} y la imagen es de otra modalidad",
        "the model judges {modalities} only and the image is of another modality",
    ),
    "species": (
        "la imagen no es de una persona",
        "the image is not of a human being",
    ),
    "for-processing": (
        "la imagen está sin procesar (FOR PROCESSING) y el modelo solo valora imágenes para "
        "presentación",
        "the image is unprocessed (FOR PROCESSING) and the model judges images for presentation "
        "only",
    ),
    "frames": (
        "la imagen tiene varios fotogramas y el modelo solo valora radiografías simples",
        "the image has several frames and the model judges plain radiographs only",
    ),
    "colour": (
        "la imagen es en color y el modelo solo valora radiografías en escala de grises",
        "the image is in colour and the model judges grey scale radiographs only",
    ),
    "resolution": (
        "la imagen es demasiado pequeña para valorarla",
        "the image is too small to be judged",
    ),
    "body-part": (
        "según su cabecera, la imagen no es de tórax",
        "by its header the image is not of the chest",
    ),
    "view": (
        "la imagen no es una proyección frontal de tórax y el modelo solo valora proyecciones "
        "frontales",
        "the image is not a frontal chest view and the model judges frontal views only",
    ),
    "contradiction": (
        "la cabecera y la imagen se contradicen sobre la proyección o la región",
        "header and image contradict each other about view or body part",
    ),
    "age": (
        "la edad está fuera de las edades para las que el modelo se ha validado ({ages})",
        "the age lies outside the ages for which the model has been validated ({ages})",
    ),
    "no-pixels": (
        "el objeto no contiene píxeles",
        "the object holds no pixels",
    ),
    "unreadable": (
        "los píxeles no se pueden leer: {cause}",
        "the pixels cannot be read: {cause}",
    ),
    "blank": (
        "la imagen no tiene contenido (exposición vacía o de prueba)",
        "the image has no content (blank or test exposure)",
    ),
    "inverted": (
        "la imagen parece tener los grises invertidos (hueso oscuro)",
        "the image seems to have inverted grey values (dark bone)",
    ),
    "rotated": (
        "la imagen parece girada y el modelo solo valora imágenes en posición erguida",
        "the image seems to be rotated and the model judges upright images only",
    ),
    "out-of-distribution": (
        "la imagen no se parece a las radiografías frontales de tórax con las que se validó el "
        "modelo",
        "the image does not resemble the frontal chest radiographs with which the model has been "
        "validated",
    ),
}
CAUSES: dict[str, tuple[str, str]] = {
    "too-short": (
        "faltan datos de píxeles respecto a las filas y columnas declaradas",
        "there is less pixel data than its rows and columns need",
    ),
    "too-large": (
        "el tamaño declarado es imposible",
        "its stated size is impossible",
    ),
    "contradictory": (
        "los atributos de la imagen faltan o se contradicen",
        "attributes of the image are missing or contradict each other",
    ),
    "unsupported": (
        "la compresión o el formato de los píxeles no está soportado",
        "the compression or format of the pixels is not supported",
    ),
    "damaged": (
        "los datos comprimidos están dañados o cortados",
        "the compressed data is damaged or cut short",
    ),
}
NOTES: dict[str, tuple[str, str]] = {
    "age-unknown": (
        "Edad desconocida; el modelo solo se ha validado para estas edades: {ages}.",
        "Age unknown; the model has been validated for these ages only: {ages}.",
    ),
    "mirrored": (
        "Según su cabecera, una imagen está en espejo (derecha e izquierda cambiadas).",
        "By its header an image is mirrored (right and left exchanged).",
    ),
    "one-left-out": (
        "Una imagen del estudio no se ha valorado porque {why}.",
        "One image of the study has not been assessed because {why}.",
    ),
    "left-out": (
        "{count} imágenes del estudio no se han valorado; de cada una: {why}.",
        "{count} images of the study have not been assessed; of each: {why}.",
    ),
}
BECAUSE = ("No valorado porque {why}.", "Not assessed because {why}.")


def reason(language: str, why: str) -> str:
    """The whole sentence of a refusal."""
    return _in(BECAUSE, language).format(why=why)


def because(language: str, kind: str, **fields: str) -> str:
    """The clause after "because" for a kind of refusal."""
    return _in(REASONS[kind], language).format(**fields)


def cause(language: str, name: str) -> str:
    return _in(CAUSES.get(name, CAUSES["damaged"]), language)


def note(language: str, name: str, **fields: str | int) -> str:
    return _in(NOTES[name], language).format(**fields)


def ages(language: str, populations: Sequence[tuple[int, int]]) -> str:
    """1 to 5 years and 18 years or more."""
    spoken = []
    for low, high in populations:
        if high >= 120:
            spoken.append(
                _in(("18 años o más", "18 years or more"), language).replace("18", str(low))
            )
        else:
            spoken.append(_in((f"de {low} a {high} años", f"{low} to {high} years"), language))
    return _in((" y ", " and "), language).join(spoken)


def listed(language: str, names: Sequence[str]) -> str:
    return _in((" o ", " or "), language).join(names)


def _in(pair: tuple[str, str], language: str) -> str:
    return pair[0] if language == "es" else pair[1]
