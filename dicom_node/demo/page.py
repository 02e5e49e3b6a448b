"""One HTML page of a demonstration's results, with a PNG of every overlay beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydicom import dcmread

from dicom_node import webpage
from dicom_node.demo.outcome import Row
from dicom_node.demo.peers import TrialPacs

_TEXT = {
    "en": {
        "title": "Demonstration of dictamen",
        "warn": "Every patient is synthetic: drawn by the model's own decoder from averages over "
        "at least five patients. Nothing here is for diagnostic use.",
        "none": "No picture: a result without a finding is a text report and a message.",
        "ack": "answer of the RIS",
    },
    "es": {
        "title": "Demostración de dictamen",
        "warn": "Todos los pacientes son sintéticos: dibujados por el decodificador del modelo a "
        "partir de promedios de al menos cinco pacientes. Nada de esto es válido para diagnóstico.",
        "none": "Sin imagen: un resultado sin hallazgo es un informe de texto y un mensaje.",
        "ack": "respuesta del RIS",
    },
}


def write(target: Path, rows: Sequence[Row], pacs: TrialPacs, language: str) -> Path:
    """Write TARGET/results.html and TARGET/pictures/*.png; returns the page."""
    pictures = target / "pictures"
    pictures.mkdir(exist_ok=True)
    text = _TEXT[language]
    parts = [_section(row, pacs, pictures, text) for row in rows]
    page = webpage.whole(text["title"], text["warn"], "".join(parts), language)
    file = target / "results.html"
    file.write_text(page, encoding="utf-8")
    return file


def _section(row: Row, pacs: TrialPacs, pictures: Path, text: dict[str, str]) -> str:
    say = html.escape
    shown = [_picture(kind, uid, pacs, pictures) for kind, uid in row.in_pacs]
    figures = "".join(part for part in shown if part) or f"<p>{text['none']}</p>"
    lines = "".join(f"<li>{say(finding)}</li>" for finding in row.findings)
    uids = "".join(f"<br><code>{say(kind)} {say(uid)}</code>" for kind, uid in row.in_pacs)
    return (
        f"<section><h2>{say(row.patient.title)}</h2>"
        f"<p><span class=state>{say(row.said)}</span> {say(row.reason)}</p>"
        f"<ul>{lines}</ul><p>{say(row.impression)}</p>{figures}"
        f"<p>{text['ack']}: {say(row.ack)} · {row.seconds:.1f} s{uids}</p></section>"
    )


def _picture(kind: str, uid: str, pacs: TrialPacs, pictures: Path) -> str:
    """An overlay as PNG; three frames of a strip side by side; nothing for reports."""
    if kind not in ("overlay", "strip", "map"):
        return ""
    pixels = dcmread(pacs.file_of(uid)).pixel_array
    name = f"{kind}-{uid[-16:]}.png"
    if pixels.ndim == 4:  # of a strip: the least, the original, the most
        frames = [Image.fromarray(pixels[index]) for index in (0, len(pixels) // 2, -1)]
        width, height = frames[0].size
        sheet = Image.new("RGB", (width * len(frames), height))
        for index, frame in enumerate(frames):
            sheet.paste(frame, (index * width, 0))
        sheet.thumbnail((2400, 2400))
        sheet.save(pictures / name)
    else:
        Image.fromarray(pixels).save(pictures / name)
    return (
        f'<figure><img src="pictures/{name}" alt="{kind}"><figcaption>{kind}</figcaption></figure>'
    )
