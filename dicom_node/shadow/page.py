"""One HTML page of the evidence: the sections of `telling` with two figures to look at.

Pure: Evidence in, text out. Figures are inline SVG: shares with their intervals by label, and
alerts by day. Hollow and grey: rests on too few.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from dicom_node import webpage
from dicom_node.shadow.evidence import Day, Evidence
from dicom_node.shadow.figures import Share
from dicom_node.shadow.telling import WORDS, Section, sections, share_text

_WORDS = {
    "en": {
        "warn": "Nothing of this was sent to anybody. Figures describe this site and this time; "
        "a person decides.",
        "shares": "Agreement with the live processors, and sensitivity and specificity against the "
        "site's readings, by label; bars hold 95 %. Hollow: fewer than 30 studies.",
        "days": "Studies a day: judged (blue), of these with a finding present (orange).",
    },
    "es": {
        "warn": "Nada de esto se envió a nadie. Las cifras describen este centro y este periodo; "
        "decide una persona.",
        "shares": "Concordancia con los procesadores en vivo, y sensibilidad y especificidad "
        "frente a las lecturas del centro, por etiqueta; las barras abarcan el 95 %. Hueco: menos "
        "de 30 estudios.",
        "days": "Estudios por día: valorados (azul), de ellos con un hallazgo presente (naranja).",
    },
}
_BLUE, _ORANGE, _GREY, _LINE = "#56b4e9", "#e69f00", "#9aa4ae", "#3a4048"
_WIDTH, _LEFT, _ROW = 1000, 330, 34  # units of the drawing


def page(evidence: Evidence, language: str) -> str:
    """The page; English or Spanish."""
    first, *rest = sections(evidence, language)
    intro = "".join(f"<p>{html.escape(note)}</p>" for note in first.notes)
    figures = [
        (_shares(_measured(evidence, language), language), "shares"),
        (_days(evidence.days), "days"),
    ]
    shown = "".join(
        f"<figure>{drawn}<figcaption>{_WORDS[language][name]}</figcaption></figure>"
        for drawn, name in figures
        if drawn
    )
    against, *others = rest
    body = intro + _section(against) + f"<section>{shown}</section>"
    body += "".join(_section(one) for one in others)
    body += f"<p><code>sha256 {evidence.sha256}</code></p>"
    return webpage.whole(first.title, _WORDS[language]["warn"], body, language)


def _section(one: Section) -> str:
    say = html.escape
    notes = "".join(f"<p>{say(note)}</p>" for note in one.notes)
    head = "".join(f"<th>{say(name)}</th>" for name in one.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{say(cell)}</td>' for cell in row)}</tr>" for row in one.rows
    )
    table = f"<table><tr>{head}</tr>{rows}</table>" if one.rows else ""
    return f"<section><h2>{say(one.title)}</h2>{notes}{table}</section>"


def _measured(evidence: Evidence, language: str) -> list[tuple[str, Share]]:
    words = WORDS[language]
    found = [
        (f"{one.label}, {words['agreement']} {peer.processor}", one.same)
        for peer in evidence.peers
        for one in peer.labels
    ]
    for read in evidence.reference.labels if evidence.reference else ():
        found.append((f"{read.label}, {words['sensitivity']}", read.sensitivity))
        found.append((f"{read.label}, {words['specificity']}", read.specificity))
    return [(name, one) for name, one in found if one.n]


def _shares(measured: Sequence[tuple[str, Share]], language: str) -> str:
    """A row a share: its interval as a bar, its value as a dot, on 0 to 100 %."""
    if not measured:
        return ""
    right = _WIDTH - 220
    height = _ROW * (len(measured) + 1)
    scale = [
        _line(_x(part, right), 0, _x(part, right), height - _ROW, _LINE)
        + _text(_x(part, right), height - 10, f"{part:.0%}", _GREY, "middle")
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    rows = []
    for number, (name, one) in enumerate(measured):
        y = _ROW * number + _ROW / 2
        low, value, high = (_x(part or 0.0, right) for part in (one.low, one.value, one.high))
        colour = _BLUE if one.enough else _GREY
        fill = colour if one.enough else "none"
        rows.append(
            _text(0, y + 5, name, "#e8e6e3")
            + f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" '
            'stroke-width="4"/>'
            + f'<circle cx="{value:.1f}" cy="{y}" r="7" fill="{fill}" stroke="{colour}" '
            'stroke-width="2"/>'
            + _text(right + 20, y + 5, share_text(one, language).partition(" (")[0], _GREY)
        )
    return _svg(height, "".join([*scale, *rows]))


def _x(part: float, right: float) -> float:
    return _LEFT + part * (right - _LEFT)


def _days(days: Sequence[Day]) -> str:
    """A bar a day: judged studies, and in front of them those with a finding present."""
    most = max((day.judged for day in days), default=0)
    if not most:
        return ""
    left, tall = 60, 220
    step = (_WIDTH - left) / len(days)
    bars = []
    for number, day in enumerate(days):
        x, width = left + number * step, max(step * 0.8, 1)
        for count, colour in ((day.judged, _BLUE), (day.alerts, _ORANGE)):
            high = tall * count / most
            bars.append(
                f'<rect x="{x:.1f}" y="{tall - high + 10:.1f}" width="{width:.1f}" '
                f'height="{high:.1f}" fill="{colour}"><title>{day.day}: {count}</title></rect>'
            )
    axis = _line(left, tall + 10, _WIDTH, tall + 10, _GREY)
    labels = _text(left - 10, 22, str(most), _GREY, "end")
    labels += _text(left - 10, tall + 14, "0", _GREY, "end")
    labels += _text(left, tall + 34, days[0].day, _GREY)
    if len(days) > 1:
        labels += _text(_WIDTH, tall + 34, days[-1].day, _GREY, "end")
    return _svg(tall + 44, "".join(bars) + axis + labels)


def _svg(height: float, inside: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img">{inside}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"/>'


def _text(x: float, y: float, said: str, colour: str, anchor: str = "start") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {where}>{html.escape(said)}</text>"
