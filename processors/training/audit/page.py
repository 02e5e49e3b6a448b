"""The page of an audit: one HTML file that needs nothing else, in Spanish or English.

In: what was audited, of every answer. Out: the page's text. Never: a number that is not in the
record; a film outside of the page.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

from processors.runtime import Bundle
from processors.training.audit import pictures
from processors.training.audit.pictures import Dot
from processors.training.audit.probes import marked
from processors.training.audit.record import Audited
from processors.training.audit.verdict import FOLLOWS, LOST
from processors.training.measure import Estimate

WORDS = {
    "en": {
        "title": "Bias audit",
        "warn": "Films of patients are shown: keep this page as you keep the films. Nothing was "
        "found is no proof that nothing is there: only what is asked for below is found.",
        "biased": "Biased",
        "clean": "No bias found",
        "noted": "Noted (may belong to the disease)",
        "marks": "Marks pasted on films: AUC lost when one side alone carries them",
        "marks_say": "A mark says nothing of the finding. {line}: the interval's lower end from "
        "which a model is accused.",
        "raises": "on films without the finding",
        "lowers": "on films with it",
        "turned": "answers turned",
        "silenced": "answers silenced",
        "follows": "What the score follows among films of equal answer (AUC; .5: nothing)",
        "latent": "told by the latent",
        "gaps": "For whom it works less well",
        "gap": "largest less smallest AUC",
        "chance": "groups drawn at random show",
        "five": "Five tests of the strips (after DISSECT, arXiv:2105.15164)",
        "influence": "influence on the classifier",
        "realism": "realism",
        "disentangling": "moves this answer alone",
        "preservation": "the rest stays",
        "stability": "stability",
        "mended": "The mark taken out of the head",
        "back": "of the AUC lost comes back",
        "cost": "AUC lost on films without marks",
        "projection": "directions projected out",
        "augmentation": "fitted again, marks on half of the films",
        "pictures": "Films: first as they are, then with the mark that costs most ({kind})",
        "film": "film",
        "traversal": "generative map",
        "gradcam": "Grad-CAM",
        "organ": "Grad-CAM, organ alone",
        "none": "not measured: too few films, or the table does not say",
        "ece": "Calibration error {ece:.3f}; a perfectly calibrated model would show {fair} on so "
        "many films.",
        "group": "group",
        "tag": "letter",
        "spot": "bright spot",
        "obstruction": "dark block",
        "films": "films",
        "sensitivity": "sensitivity",
        "false_positives": "false positives",
        "no_gradcam": "Grad-CAM needs the extra `explain`.",
    },
    "es": {
        "title": "Auditoría de sesgos",
        "warn": "Se muestran imágenes de pacientes: guarde esta página como guarda las imágenes. "
        "Que no se encuentre nada no prueba que no lo haya: solo se encuentra lo que aquí se "
        "pregunta.",
        "biased": "Sesgado",
        "clean": "No se encontró sesgo",
        "noted": "Observado (puede pertenecer a la enfermedad)",
        "marks": "Marcas pegadas en las imágenes: AUC perdida si solo un lado las lleva",
        "marks_say": "Una marca no dice nada del hallazgo. {line}: extremo inferior del intervalo "
        "desde el que se acusa al modelo.",
        "raises": "en imágenes sin el hallazgo",
        "lowers": "en imágenes con él",
        "turned": "respuestas cambiadas a presente",
        "silenced": "respuestas silenciadas",
        "follows": "Qué sigue la puntuación entre imágenes de igual respuesta (AUC; ,5: nada)",
        "latent": "lo dice el espacio latente",
        "gaps": "Para quién funciona peor",
        "gap": "AUC mayor menos menor",
        "chance": "grupos al azar muestran",
        "five": "Cinco pruebas de las tiras (según DISSECT, arXiv:2105.15164)",
        "influence": "influencia en el clasificador",
        "realism": "realismo",
        "disentangling": "mueve solo esta respuesta",
        "preservation": "el resto queda igual",
        "stability": "estabilidad",
        "mended": "La marca, quitada de la cabeza del modelo",
        "back": "de la AUC perdida vuelve",
        "cost": "AUC perdida en imágenes sin marcas",
        "projection": "direcciones quitadas por proyección",
        "augmentation": "ajustada de nuevo, con marcas en la mitad de las imágenes",
        "pictures": "Imágenes: primero como son, luego con la marca que más cuesta ({kind})",
        "film": "imagen",
        "traversal": "mapa generativo",
        "gradcam": "Grad-CAM",
        "organ": "Grad-CAM, solo el órgano",
        "none": "no medido: muy pocas imágenes, o la tabla no lo dice",
        "ece": "Error de calibración {ece:.3f}; un modelo perfectamente calibrado mostraría {fair} "
        "con tantas imágenes.",
        "group": "grupo",
        "tag": "letra",
        "spot": "mancha clara",
        "obstruction": "bloque oscuro",
        "films": "imágenes",
        "sensitivity": "sensibilidad",
        "false_positives": "falsos positivos",
        "no_gradcam": "Grad-CAM necesita el extra `explain`.",
    },
}
_STYLE = """
body{background:#fff;color:#1b1f23;font:16px/1.5 system-ui,sans-serif;max-width:64rem;
 margin:2rem auto;padding:0 1rem}
.warn{border-left:.4rem solid #e69f00;padding:.6rem 1rem;background:#fff7e6}
.biased{border-left:.4rem solid #d55e00;padding:.4rem 1rem;background:#fdeee6}
.clean{border-left:.4rem solid #0072b2;padding:.4rem 1rem;background:#e8f2f9}
section{border-top:2px solid #ccc;margin-top:2rem}
img{max-width:100%;height:auto}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;
 text-align:left}
code{word-break:break-all}
"""
_say = html.escape


def page(bundle: Bundle, found: Sequence[Audited], language: str, gradcam: bool) -> str:
    """The whole page. gradcam: whether its extra is installed."""
    words = WORDS[language]
    name = f"{bundle.metadata['name']} {bundle.metadata['version']}"
    parts = "".join(_answer(one, language, gradcam) for one in found)
    missing = "" if gradcam else f"<p>{_say(words['no_gradcam'])}</p>"
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{words['title']}: {_say(name)}</title><style>{_STYLE}</style>"
        f"<h1>{words['title']}: {_say(name)}</h1><p><code>{bundle.algorithm.sha256}</code></p>"
        f"<p class=warn>{_say(words['warn'])}</p>{missing}{parts}</html>\n"
    )


def _answer(one: Audited, language: str, gradcam: bool) -> str:
    case, words = one.case, WORDS[language]
    head = f"{case.name}: AUC {one.auc} ({int(case.positive.sum())}/{len(case.positive)})"
    calibrated = words["ece"].format(ece=one.ece, fair=one.ece_fair)
    seen = pictures.films(one, marked(case, one.worst), words, gradcam)
    return (
        f"<section><h2>{_say(head)}</h2>{_verdict(one, language)}<p>{calibrated}</p>"
        f"<h3>{_say(words['pictures'].format(kind=words[one.worst]))}</h3>{_image(seen)}"
        f"{_marks(one, words)}{_follows(one, words)}{_gaps(one, words)}"
        f"{_five(one, words)}{_mended(one, words)}</section>"
    )


def _verdict(one: Audited, language: str) -> str:
    kind, words = "biased" if one.verdict.biased else "clean", WORDS[language]
    reasons, noted = _list(one.verdict.reasons(language)), _list(one.verdict.remarks(language))
    return f"<div class={kind}><strong>{words[kind]}</strong>{reasons}</div>" + (
        f"<p>{words['noted']}:</p>{noted}" if noted else ""
    )


def _marks(one: Audited, words: dict[str, str]) -> str:
    rows = [
        Dot(f"{words[kind]}, {words[side]}", figure, figure.low > LOST)
        for kind, each in one.probes.items()
        for side, figure in (("raises", each.raises), ("lowers", each.lowers))
    ]
    lines = [
        (words[kind], words["turned"], str(each.turned), words["silenced"], str(each.silenced))
        for kind, each in one.probes.items()
    ]
    drawn = pictures.dots(rows, [LOST], "")
    said = words["marks_say"].format(line=f"{LOST:.2f}")
    return f"<h3>{words['marks']}</h3><p>{said}</p>{_image(drawn)}{_table(lines)}"


def _follows(one: Audited, words: dict[str, str]) -> str:
    if not one.followed:
        return f"<h3>{words['follows']}</h3><p>{words['none']}</p>"
    rows = [
        Dot(f"{each.attribute} {each.value}"[:44], each.score, each.strength > FOLLOWS)
        for each in one.followed
    ]
    drawn = pictures.dots(rows, [0.5 - FOLLOWS, 0.5 + FOLLOWS], "")
    lines = [(f"{f.attribute} {f.value}", words["latent"], str(f.latent)) for f in one.followed]
    return f"<h3>{words['follows']}</h3>{_image(drawn)}{_table(lines)}"


def _gaps(one: Audited, words: dict[str, str]) -> str:
    if not one.gaps:
        return f"<h3>{words['gaps']}</h3><p>{words['none']}</p>"
    head = (words["group"], words["films"], "AUC", words["sensitivity"], words["false_positives"])
    parts = []
    for each in one.gaps:
        lines = [
            (name, *(f"{g[k]:g}" for k in ("films", "auc", "sensitivity", "false_positives")))
            for name, g in each.groups.items()
        ]
        said = f"{each.attribute}: {words['gap']} {each.gap} ({words['chance']} {each.by_chance})"
        parts.append(f"<p>{_say(said)}</p>{_table([head, *lines])}")
    return f"<h3>{words['gaps']}</h3>{''.join(parts)}"


def _five(one: Audited, words: dict[str, str]) -> str:
    if one.five is None:
        return f"<h3>{words['five']}</h3><p>{words['none']}</p>"
    names = ("influence", "realism", "disentangling", "preservation", "stability")
    held: list[tuple[str, Estimate | None]] = [(n, getattr(one.five, n)) for n in names]
    rows = [Dot(words[name], figure, False) for name, figure in held if figure]
    return f"<h3>{words['five']}</h3>{_image(pictures.dots(rows, [], ''))}"


def _mended(one: Audited, words: dict[str, str]) -> str:
    lines = [
        (words[each.kind], words[each.way], f"{each.back} {words['back']}",
         f"{words['cost']}: {each.cost}")
        for each in one.mended
    ]  # fmt: skip
    return f"<h3>{words['mended']}</h3>{_table(lines)}" if lines else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_say(line)}</li>' for line in lines)}</ul>" if lines else ""


def _table(lines: Iterable[Sequence[Any]]) -> str:
    rows = ("".join(f"<td>{_say(str(cell))}</td>" for cell in line) for line in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _image(png: bytes) -> str:
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'
