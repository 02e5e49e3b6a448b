"""What reports say of a model that is not this house's, in Spanish and English."""

from __future__ import annotations

from processors.analysis import Refusal

Pair = tuple[str, str]  # Spanish, English

NO_EXPLANATION: dict[str, Pair] = {
    "monai_bundle": (
        "No hay explicación para este tipo de modelo: un paquete MONAI da una respuesta y no "
        "aquello en que se basa.",
        "No explanation available for this kind of model: a MONAI bundle gives an answer and not "
        "what it rests on.",
    ),
    "torchxrayvision": (
        "No hay explicación para este tipo de modelo: una red de torchxrayvision da una respuesta "
        "y no aquello en que se basa.",
        "No explanation available for this kind of model: a torchxrayvision network gives an "
        "answer and not what it rests on.",
    ),
    "http_endpoint": (
        "No hay explicación para este tipo de modelo: un servicio remoto da una respuesta y no "
        "aquello en que se basa; sus pesos no se conocen aquí.",
        "No explanation available for this kind of model: a remote service gives an answer and not "
        "what it rests on; its weights are not known here.",
    ),
}
NOTES: dict[str, Pair] = {
    "score": (
        "El número que acompaña a cada respuesta es la puntuación del modelo, no una probabilidad: "
        "no se ha calibrado.",
        "The number beside each answer is the model's score and not a probability: it has not been "
        "calibrated.",
    ),
    "operating-point": (
        "El número que acompaña a cada respuesta no es una probabilidad: es la salida de la red "
        "reescalada para que su punto de operación quede en el 50 %.",
        "The number beside each answer is not a probability: it is the network's output rescaled "
        "so that its operating point lies at 50 %.",
    ),
    "mask": (
        "El número que acompaña a cada segmento es el valor medio de la red dentro de lo "
        "segmentado, no la probabilidad de que el hallazgo exista.",
        "The number beside each segment is the network's mean value inside what it segmented, not "
        "the probability that the finding exists.",
    ),
    "one-series": (
        "Solo se ha valorado la serie más larga ({count} cortes); series sin valorar: {others}.",
        "Only the longest series ({count} slices) has been judged; series not judged: {others}.",
    ),
}
REASONS: dict[str, Pair] = {
    "geometry": (
        "No valorado porque los cortes de la serie no dicen su posición en el espacio.",
        "Not assessed because the slices of the series do not say where they lie in space.",
    ),
    "slices": (
        "No valorado porque faltan cortes en la serie o no están a la misma distancia.",
        "Not assessed because slices of the series are missing or not equally spaced.",
    ),
    "tilted": (
        "No valorado porque los cortes de la serie no están uno detrás de otro, como cuando se "
        "inclina el gantry, y forman un volumen oblicuo.",
        "Not assessed because the slices of the series do not lie straight behind each other, as "
        "with a tilted gantry, and their volume is slanted.",
    ),
    "units": (
        "No valorado porque los valores de la imagen no son unidades Hounsfield, o no dice cómo "
        "obtenerlas.",
        "Not assessed because the values of the image are no Hounsfield units, or it does not say "
        "how to get them.",
    ),
    "pixel-size": (
        "No valorado porque la imagen no dice cuánto miden sus píxeles, y el modelo debe saberlo.",
        "Not assessed because the image does not say how large its pixels are, and the model must "
        "know.",
    ),
    "burned-in": (
        "No valorado porque la imagen puede llevar texto grabado y no debe salir de esta casa.",
        "Not assessed because the image may carry burned-in text and must not leave this house.",
    ),
}


def say(pair: Pair, language: str, **fields: str | int) -> str:
    return (pair[0] if language == "es" else pair[1]).format(**fields)


def refusal(kind: str, language: str) -> Refusal:
    return Refusal(kind, say(REASONS[kind], language))
