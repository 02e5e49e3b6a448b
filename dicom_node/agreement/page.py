"""One HTML page of the agreement: two drawings to look at, and the tables behind them.

Pure: a Summary in, text out. Inline SVG: agreement by week, fates of each finding. English and
Spanish; names of findings in the page's language. Hollow: rests on few reports.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from dicom_node import webpage
from dicom_node.agreement.figures import FATES, FEW, FindingCount, Group, Summary

_WORDS = {
    "en": {
        "title": "Drafts and final reports",
        "warn": "A difference says that two texts differ, not who is right. Findings are read by "
        "phrase lists, which err as well.",
        "weeks": f"By week: findings that agree (F1, blue), words that were kept (orange), ROUGE-L "
        f"(green); bars: final reports. Hollow: fewer than {FEW} reports.",
        "fates": "By finding: in draft and final (blue), added by the reader (orange), removed "
        "(grey), contradicted (red); numbers of reports.",
        "overall": "Overall",
        "week": "By week",
        "reader": "By reader",
        "finding": "By finding",
        "none": "No final report was compared with a draft.",
        "head": "group,reports,unchanged,words kept,ROUGE-1,ROUGE-2,ROUGE-L,finding F1,both,added,"
        "removed,contradicted",
        "all": "all",
        "decimal": ".",
    },
    "es": {
        "title": "Borradores e informes definitivos",
        "warn": "Una diferencia dice que dos textos difieren, no quién tiene razón. Los hallazgos "
        "se leen con listas de frases, que también se equivocan.",
        "weeks": f"Por semana: hallazgos que coinciden (F1, azul), palabras conservadas (naranja), "
        f"ROUGE-L (verde); barras: informes definitivos. Hueco: menos de {FEW} informes.",
        "fates": "Por hallazgo: en borrador y definitivo (azul), añadido por el lector (naranja), "
        "eliminado (gris), contradicho (rojo); número de informes.",
        "overall": "En conjunto",
        "week": "Por semana",
        "reader": "Por lector",
        "finding": "Por hallazgo",
        "none": "Ningún informe definitivo se comparó con un borrador.",
        "head": "grupo,informes,sin cambios,palabras conservadas,ROUGE-1,ROUGE-2,ROUGE-L,"
        "F1 de hallazgos,en ambos,añadidos,eliminados,contradichos",
        "all": "todos",
        "decimal": ",",
    },
}
_NAMES = {  # of processors.impressions.lexicon.FINDINGS
    "enlarged_mediastinum": ("enlarged mediastinum", "mediastino ensanchado"),
    "cardiomegaly": ("cardiomegaly", "cardiomegalia"),
    "lung_opacity": ("lung opacity", "opacidad pulmonar"),
    "lung_lesion": ("lung lesion", "lesión pulmonar"),
    "edema": ("oedema", "edema"),
    "consolidation": ("consolidation", "consolidación"),
    "pneumonia": ("pneumonia", "neumonía"),
    "atelectasis": ("atelectasis", "atelectasia"),
    "pneumothorax": ("pneumothorax", "neumotórax"),
    "pleural_effusion": ("pleural effusion", "derrame pleural"),
    "pleural_other": ("other pleural finding", "otro hallazgo pleural"),
    "fracture": ("fracture", "fractura"),
    "support_devices": ("devices", "dispositivos"),
    "adenopathy": ("adenopathy", "adenopatías"),
}
_COLOURS = {"both": "#56b4e9", "added": "#e69f00", "removed": "#9aa4ae", "contradicted": "#d55e00"}
_GREEN, _GREY, _LINE, _INK = "#009e73", "#9aa4ae", "#3a4048", "#e8e6e3"
_WIDTH, _LEFT, _ROW, _TALL = 1000, 260, 30, 260  # units of the drawing


def page(summary: Summary, language: str) -> str:
    """The page; English or Spanish."""
    words = _WORDS[language]
    if summary.overall is None:
        body = f"<p>{html.escape(words['none'])}</p>"
        return webpage.whole(words["title"], words["warn"], body, language)
    drawings = (
        (_weeks(summary.weeks, words["decimal"]), "weeks"),
        (_fates(summary.findings, language), "fates"),
    )
    body = "".join(
        f"<figure>{drawn}<figcaption>{html.escape(words[name])}</figcaption></figure>"
        for drawn, name in drawings
    )
    groups = (
        ("overall", [summary.overall]),
        ("week", summary.weeks),
        ("reader", summary.readers),
    )
    for name, found in groups:
        cells = [_cells(one, language) for one in found]
        body += _table(words[name], words["head"].split(","), cells)
    head = [words["head"].split(",")[place] for place in (0, -4, -3, -2, -1)]
    rows = [
        (finding_name(one.name, language), *(str(getattr(one, fate)) for fate in FATES))
        for one in summary.findings
    ]
    body += _table(words["finding"], head, rows)
    return webpage.whole(words["title"], words["warn"], body, language)


def finding_name(name: str, language: str) -> str:
    """What people call a finding of the labeller."""
    return _NAMES[name][language == "es"] if name in _NAMES else name


def _cells(one: Group, language: str) -> tuple[str, ...]:
    words = _WORDS[language]
    shares = [one.kept, one.rouge1, one.rouge2, one.rougeL, one.f1]
    shown = ["-" if x is None else f"{x:.2f}".replace(".", words["decimal"]) for x in shares]
    counts = (str(getattr(one, fate)) for fate in FATES)
    name = words["all"] if one.name == "all" else one.name
    return (name, str(one.reports), str(one.unchanged), *shown, *counts)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def say(cell: str) -> str:
        return html.escape(cell).replace("-", "\u2011")  # ROUGE-1 and 2026-W10 stay whole

    top = "".join(f"<th>{say(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{say(c)}</td>' for c in row)}</tr>" for row in rows)
    return f"<section><h2>{html.escape(title)}</h2><table><tr>{top}</tr>{lines}</table></section>"


def _weeks(weeks: Sequence[Group], decimal: str) -> str:
    """A dot a week for each of three shares, over a bar for the number of reports."""
    left, most = 60, max(one.reports for one in weeks)
    step = (_WIDTH - left) / len(weeks)
    drawn = [
        f'<line x1="{left}" y1="{_y(part):.1f}" x2="{_WIDTH}" y2="{_y(part):.1f}" '
        f'stroke="{_LINE}"/>'
        + _text(left - 10, _y(part) + 5, f"{part:g}".replace(".", decimal), _GREY, "end")
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    lines: dict[str, list[str]] = {_COLOURS["both"]: [], _COLOURS["added"]: [], _GREEN: []}
    dots = []
    for number, one in enumerate(weeks):
        x = left + (number + 0.5) * step
        high = (_TALL - 20) * 0.3 * one.reports / most
        width = min(step * 0.6, 60)
        drawn.append(
            f'<rect x="{x - width / 2:.1f}" y="{_TALL - high:.1f}" width="{width:.1f}" '
            f'height="{high:.1f}" fill="{_LINE}"/>'
            + _text(x, _TALL - high - 4, str(one.reports), _GREY, "middle")
            + _text(x, _TALL + 20, one.name, _GREY, "middle")
        )
        for colour, share in zip(lines, (one.f1, one.kept, one.rougeL), strict=True):
            if share is not None:
                lines[colour].append(f"{x:.1f},{_y(share):.1f}")
                fill = colour if one.enough else "none"
                dots.append(
                    f'<circle cx="{x:.1f}" cy="{_y(share):.1f}" r="6" fill="{fill}" '
                    f'stroke="{colour}" stroke-width="2"/>'
                )
    paths = [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for colour, points in lines.items()
    ]
    return _svg(_TALL + 30, "".join([*drawn, *paths, *dots]))


def _y(share: float) -> float:
    return 10 + (_TALL - 10) * (1 - share)


def _fates(findings: Sequence[FindingCount], language: str) -> str:
    """A row a finding: one bar parted by what became of it."""
    if not findings:
        return ""
    most = max(one.both + one.changed for one in findings)
    rows = []
    for number, one in enumerate(findings):
        y, x = number * _ROW, float(_LEFT)
        rows.append(_text(_LEFT - 12, y + 20, finding_name(one.name, language), _INK, "end"))
        for fate in FATES:
            count = getattr(one, fate)
            width = (_WIDTH - _LEFT - 10) * count / most
            rows.append(
                f'<rect x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="{_ROW - 10}" '
                f'fill="{_COLOURS[fate]}"/>'
            )
            if width > 24:
                rows.append(_text(x + width / 2, y + 20, str(count), "#14171a", "middle"))
            x += width
    return _svg(_ROW * len(findings) + 6, "".join(rows))


def _svg(height: float, inside: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img">{inside}</svg>'


def _text(x: float, y: float, said: str, colour: str, anchor: str = "start") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {where}>{html.escape(said)}</text>"
