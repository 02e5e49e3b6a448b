"""The sentences of the gate, in Spanish and English, without anything of the patient.

Each reason stands for itself in a report; each note says what else the reader must know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        "la imagen tiene varios fotogramas y el modelo solo valora {plain}",
        "the image has several frames and the model judges {plain} only",
    ),
    "colour": (
        "la imagen es en color y el modelo solo valora {grey}",
        "the image is in colour and the model judges {grey} only",
    ),
    "resolution": (
        "la imagen es demasiado pequeña para valorarla",
        "the image is too small to be judged",
    ),
    "body-part": (
        "según su cabecera, la imagen no es de {organ}",
        "by its header the image is not of {organ}",
    ),
    "body-part-unknown": (
        "la cabecera no dice que la imagen sea de {organ} y los píxeles solos no bastan para "
        "saberlo",
        "the header does not say that the image is of {organ} and pixels alone do not tell",
    ),
    "localizer": (
        "la imagen es un localizador",
        "the image is a localizer",
    ),
    "derived": (
        "la imagen es un mapa calculado (difusión, perfusión, fase u otro) y no un corte anatómico",
        "the image is a calculated map (diffusion, perfusion, phase or another), no anatomical "
        "slice",
    ),
    "projection": (
        "la imagen es una proyección de muchos cortes (MIP u otra) y no un corte",
        "the image is a projection of many slices (MIP or another), and no slice",
    ),
    "sequence": (
        "según su cabecera, la secuencia no está potenciada en T1 y el modelo solo valora {known}",
        "by its header the sequence is not T1-weighted and the model judges {known} only",
    ),
    "mode": (
        "la imagen contiene Doppler espectral, modo M, un trazado o 3D y el modelo solo valora "
        "{grey}",
        "the image holds spectral Doppler, M-mode, a trace or 3D and the model judges {grey} only",
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
        "la imagen parece tener los grises invertidos ({dark})",
        "the image seems to have inverted grey values ({dark})",
    ),
    "rotated": (
        "la imagen parece girada y el modelo solo valora imágenes {upright}",
        "the image seems to be rotated and the model judges images {upright} only",
    ),
    "out-of-distribution": (
        "la imagen no se parece a las {known} con las que se validó el modelo",
        "the image does not resemble the {known} with which the model has been validated",
    ),
}
OTHERWISE: dict[tuple[str, str], tuple[str, str]] = {  # (organ, kind)
    ("any", "view"): (
        "la proyección no es {views}, lo único que el modelo valora",
        "the view is not {views}, which is all that the model judges",
    ),
    ("any", "body-part"): (
        "según su cabecera, la imagen no es de una región que el modelo valore",
        "by its header the image is not of a body part that the model judges",
    ),
}
ORGANS: dict[str, dict[str, tuple[str, str]]] = {
    "chest": {
        "organ": ("tórax", "the chest"),
        "plain": ("radiografías simples", "plain radiographs"),
        "grey": ("radiografías en escala de grises", "grey scale radiographs"),
        "known": ("radiografías frontales de tórax", "frontal chest radiographs"),
        "dark": ("hueso oscuro", "dark bone"),
        "upright": ("en posición erguida", "in upright position"),
    },
    "brain": {
        "organ": ("cabeza", "the head"),
        "plain": ("cortes sueltos", "single slices"),
        "grey": ("cortes en escala de grises", "grey scale slices"),
        "known": (
            "imágenes de resonancia de cabeza en T1 con contraste",
            "MR images of the head in T1 with contrast",
        ),
        "dark": ("fondo claro", "bright background"),
        "upright": ("en su orientación habitual", "in their usual orientation"),
    },
    "breast": {
        "organ": ("mama", "the breast"),
        "plain": ("imágenes fijas", "still images"),
        "grey": ("imágenes en modo B en escala de grises", "grey scale images in B-mode"),
        "known": ("ecografías de mama en modo B", "B-mode ultrasound images of the breast"),
        "dark": ("líquido claro", "bright fluid"),
        "upright": ("con la piel arriba", "with the skin at the top"),
    },
    "any": {
        "organ": ("la región del modelo", "the model's body part"),
        "plain": ("imágenes sueltas", "single images"),
        "grey": ("imágenes en escala de grises", "grey scale images"),
        "known": ("imágenes", "images"),
        "dark": ("grises invertidos", "inverted greys"),
        "upright": ("en su orientación habitual", "in their usual orientation"),
    },
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
    "left-out-for-reasons": (
        "{count} imágenes del estudio no se han valorado: {why}.",
        "{count} images of the study have not been assessed: {why}.",
    ),
    "no-contrast": (
        "Según su cabecera, {count} de las imágenes valoradas se adquirieron sin contraste; el "
        "modelo solo se ha validado en T1 con contraste.",
        "By their headers {count} of the assessed images were taken without contrast; the model "
        "has been validated on T1 with contrast only.",
    ),
}
SEVERAL = ("{count} porque {why}", "{count} because {why}")
BECAUSE = ("No valorado porque {why}.", "Not assessed because {why}.")


def reason(language: str, why: str) -> str:
    """The whole sentence of a refusal."""
    return _in(BECAUSE, language).format(why=why)


def because(language: str, kind: str, organ: str, **fields: str) -> str:
    """The clause after "because" for a kind of refusal of a model of this organ."""
    named = {name: _in(pair, language) for name, pair in ORGANS[organ].items()}
    said = OTHERWISE.get((organ, kind), REASONS[kind])
    return _in(said, language).format(**named, **fields)


def several(language: str, counts: Mapping[str, int]) -> str:
    """How many images for each clause: 3 because ...; 24 because ..."""
    pattern = _in(SEVERAL, language)
    return "; ".join(pattern.format(count=count, why=why) for why, count in counts.items())


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
