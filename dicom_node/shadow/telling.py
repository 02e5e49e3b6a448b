"""Says evidence in words, English or Spanish: sections of notes and tables.

Pure: Evidence in, sections out; the command line and the page draw the same ones. A figure that
rests on too few is said to be so, in the same cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicom_node.shadow.evidence import Concern, Evidence, Gap, Peer, Reference
from dicom_node.shadow.figures import TOO_FEW, Difference, Share, Spread
from dicom_node.story import state_word
from dicom_node.strata import UNKNOWN

WORDS = {
    "en": {
        "title": "{processor} in shadow",
        "summary": "{studies} studies in {days} days, from {first} to {last} (UTC). Version "
        "{version}, weights {weights}. Intervals hold 95 % (Clopper-Pearson; of differences "
        "Newcombe).",
        "weights unknown": "unknown",
        "nothing": "{processor} has not judged any study in shadow.",
        "against": "What speaks against it",
        "no concern": "Nothing was found. That is no proof: a person decides.",
        "endings": "What became of the studies",
        "alerts": "Alerts",
        "alerts a day": "Studies with a finding present: {spread}.",
        "peer": "Beside {processor} {versions}, which is live",
        "peer note": "{n} studies judged by both; on all labels alike: {whole}. Agreement says "
        "nothing about who is right.",
        "reference": "Against the site's readings",
        "reference note": "{n} readings; {unknown} fit no study or label of this processor, "
        "{ambiguous} fit more than one study or contradict each other. Undetermined counts as "
        "wrong both ways.",
        "gaps": "Groups, each against all others",
        "gaps note": "{shown} comparisons, of which about one in twenty differs by chance alone; "
        "{hidden} more rest on fewer than {few} studies on one side and are not shown.",
        "timings": "Times in milliseconds",
        "few": "too few: n < {few}",
        "none": "none",
        "spread": "{mean:.1f} a day (UTC), median {median:.1f}, 95 % of days up to {p95:.1f}, "
        "from {low:.0f} to {high:.0f}, over {n} days{few}",
        "ending": "ending",
        "share": "share",
        "why": "why",
        "label": "label",
        "present": "present",
        "same": "same state",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "undetermined": "undetermined",
        "not judged": "read, not judged",
        "group": "group",
        "measure": "measure",
        "inside": "in the group",
        "rest": "all others",
        "difference": "difference",
        "stage": "stage",
        "median": "median",
        "p95": "95 % up to",
        "sex": "sex",
        "age": "age",
        "view": "view",
        "maker": "maker",
        "refused": "no result",
        "alert": "a finding present",
        "agreement": "agreement",
        "unknown": "not stated",
        "few_studies": "Too few studies: {n} (n < {few}).",
        "other_weights": "{n} studies were judged with other weights or by another version and are "
        "left out.",
        "forgotten": "{n} results are past their retention and are left out.",
        "broken": "{n} runs failed or were set aside.",
        "no_truth": "There is nothing to compare with: no live processor judged these studies, "
        "and no readings were given.",
        "no_reference": "No readings were given: agreement is all there is.",
        "few_shared": "Too few studies in common with {of}: {n} (n < {few}).",
        "few_positive": "{of}: too few readings with it: {n} (n < {few}).",
        "few_negative": "{of}: too few readings without it: {n} (n < {few}).",
        "unread": "{of}: no reading at all.",
        "unmatched": "{n} readings could not be used.",
        "not_judged": "{of}: {n} studies that were read have no result.",
        "gap": "A difference whose interval leaves out zero: {of}.",
    },
    "es": {
        "title": "{processor} en sombra",
        "summary": "{studies} estudios en {days} días, del {first} al {last} (UTC). Versión "
        "{version}, pesos {weights}. Intervalos del 95 % (Clopper-Pearson; de las diferencias, "
        "Newcombe).",
        "weights unknown": "desconocidos",
        "nothing": "{processor} no ha valorado ningún estudio en sombra.",
        "against": "Lo que habla en contra",
        "no concern": "No se encontró nada. Eso no es una prueba: decide una persona.",
        "endings": "Qué fue de los estudios",
        "alerts": "Avisos",
        "alerts a day": "Estudios con un hallazgo presente: {spread}.",
        "peer": "Junto a {processor} {versions}, que está en vivo",
        "peer note": "{n} estudios valorados por ambos; iguales en todas las etiquetas: {whole}. "
        "La concordancia no dice quién acierta.",
        "reference": "Frente a las lecturas del centro",
        "reference note": "{n} lecturas; {unknown} no corresponden a ningún estudio o etiqueta de "
        "este procesador, {ambiguous} a más de un estudio o se contradicen. Lo indeterminado "
        "cuenta como error en ambos sentidos.",
        "gaps": "Grupos, cada uno frente a todos los demás",
        "gaps note": "{shown} comparaciones, de las que una de cada veinte difiere por puro azar; "
        "otras {hidden} tienen menos de {few} estudios en uno de los lados y no se muestran.",
        "timings": "Tiempos en milisegundos",
        "few": "muy pocos: n < {few}",
        "none": "ninguno",
        "spread": "{mean:.1f} al día (UTC), mediana {median:.1f}, el 95 % de los días hasta "
        "{p95:.1f}, de {low:.0f} a {high:.0f}, en {n} días{few}",
        "ending": "final",
        "share": "proporción",
        "why": "por qué",
        "label": "etiqueta",
        "present": "presente",
        "same": "mismo estado",
        "sensitivity": "sensibilidad",
        "specificity": "especificidad",
        "undetermined": "indeterminados",
        "not judged": "leídos, sin valorar",
        "group": "grupo",
        "measure": "medida",
        "inside": "en el grupo",
        "rest": "todos los demás",
        "difference": "diferencia",
        "stage": "etapa",
        "median": "mediana",
        "p95": "el 95 % hasta",
        "sex": "sexo",
        "age": "edad",
        "view": "proyección",
        "maker": "fabricante",
        "refused": "sin resultado",
        "alert": "un hallazgo presente",
        "agreement": "concordancia",
        "unknown": "no consta",
        "few_studies": "Muy pocos estudios: {n} (n < {few}).",
        "other_weights": "{n} estudios se valoraron con otros pesos o con otra versión y quedan "
        "fuera.",
        "forgotten": "{n} resultados ya no se conservan y quedan fuera.",
        "broken": "{n} ejecuciones fallaron o quedaron apartadas.",
        "no_truth": "No hay con qué comparar: ningún procesador en vivo valoró estos estudios y no "
        "se dieron lecturas.",
        "no_reference": "No se dieron lecturas: solo hay concordancia.",
        "few_shared": "Muy pocos estudios en común con {of}: {n} (n < {few}).",
        "few_positive": "{of}: muy pocas lecturas con el hallazgo: {n} (n < {few}).",
        "few_negative": "{of}: muy pocas lecturas sin el hallazgo: {n} (n < {few}).",
        "unread": "{of}: ninguna lectura.",
        "unmatched": "{n} lecturas no se pudieron usar.",
        "not_judged": "{of}: {n} estudios leídos no tienen resultado.",
        "gap": "Una diferencia cuyo intervalo deja fuera el cero: {of}.",
    },
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and a table (header empty: none)."""

    title: str
    notes: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(evidence: Evidence, language: str) -> tuple[Section, ...]:
    """The whole evidence, most important first."""
    return tuple(_Teller(evidence, language).all())


def share_text(one: Share, language: str) -> str:
    """ "83 % [65, 94] 25/30", and that they are too few where they are."""
    if one.value is None or one.low is None or one.high is None:
        return WORDS[language]["none"]
    interval = f"[{one.low * 100:.0f}, {one.high * 100:.0f}]"
    return f"{one.value * 100:.0f} % {interval} {one.count}/{one.n}{_few(one, language)}"


def _few(one: Share | Spread, language: str) -> str:
    return "" if one.enough else f" ({WORDS[language]['few'].format(few=TOO_FEW)})"


@dataclass(frozen=True, slots=True)
class _Teller:
    evidence: Evidence
    language: str

    @property
    def words(self) -> Mapping[str, str]:
        return WORDS[self.language]

    def all(self) -> Iterator[Section]:
        yield self._summary()
        yield self._against()
        if not self.evidence.studies:
            return
        yield self._endings()
        yield self._alerts()
        for peer in self.evidence.peers:
            yield self._peer(peer)
        if self.evidence.reference:
            yield self._reference(self.evidence.reference)
        if self.evidence.gaps:
            yield self._gaps()
        yield self._timings()

    def _header(self, *names: str) -> tuple[str, ...]:
        return tuple(self.words[name] for name in names)

    def _share(self, one: Share) -> str:
        return share_text(one, self.language)

    def _spread(self, one: Spread) -> str:
        names = ("mean", "median", "p95", "low", "high", "n")
        figures = {name: getattr(one, name) for name in names}
        return self.words["spread"].format(**figures, few=_few(one, self.language))

    def _summary(self) -> Section:
        found = self.evidence
        title = self.words["title"].format(processor=found.processor)
        if not found.studies:
            return Section(title, (self.words["nothing"].format(processor=found.processor),))
        said = self.words["summary"].format(
            studies=found.studies,
            days=len(found.days),
            first=found.days[0].day,
            last=found.days[-1].day,
            version=found.version,
            weights=found.weights[:12] or self.words["weights unknown"],
        )
        return Section(title, (said,))

    def _against(self) -> Section:
        notes = tuple(self._concern(one) for one in self.evidence.concerns)
        return Section(self.words["against"], notes or (self.words["no concern"],))

    def _concern(self, one: Concern) -> str:
        of = one.of
        if one.gap:
            group, measure, inside, rest, figure = self._gap(one.gap)
            others, less = self._header("rest", "difference")
            of = f"{group}, {measure}: {inside}; {others} {rest}; {less} {figure.rstrip(' *')}"
        return self.words[one.kind].format(of=of, n=one.n, few=TOO_FEW)

    def _endings(self) -> Section:
        rows = tuple(
            (state_word(name, self.language), self._share(one), self._why(name))
            for name, one in self.evidence.endings.items()
        )
        header = self._header("ending", "share", "why")
        return Section(self.words["endings"], (), header, rows)

    def _why(self, ending: str) -> str:
        found = self.evidence.reasons.get(ending, {})
        return "; ".join(f"{count} × {reason}" for reason, count in found.items())

    def _alerts(self) -> Section:
        found = self.evidence
        said = self._spread(found.alerts) if found.alerts else self.words["none"]
        rows = tuple((label, self._share(one)) for label, one in found.present.items())
        notes = (self.words["alerts a day"].format(spread=said),)
        return Section(self.words["alerts"], notes, self._header("label", "present"), rows)

    def _peer(self, peer: Peer) -> Section:
        versions = ", ".join(peer.versions)
        title = self.words["peer"].format(processor=peer.processor, versions=versions)
        whole = self._share(peer.whole)
        pair = f"{self.evidence.processor}/{peer.processor}"
        rows = tuple(
            (one.label, self._share(one.same), self._pairs(one.pairs)) for one in peer.labels
        )
        notes = (self.words["peer note"].format(n=peer.shared, whole=whole),)
        return Section(title, notes, (*self._header("label", "same"), pair), rows)

    def _pairs(self, pairs: Mapping[str, int]) -> str:
        said = []
        for pair, count in sorted(pairs.items(), key=lambda item: -item[1]):
            own, _, other = pair.partition("/")
            words = (state_word(own, self.language), state_word(other, self.language))
            said.append(f"{count} × {'/'.join(words)}")
        return "; ".join(said)

    def _reference(self, found: Reference) -> Section:
        note = self.words["reference note"].format(
            n=found.readings, unknown=found.unknown, ambiguous=found.ambiguous
        )
        rows = tuple(
            (
                one.label,
                self._share(one.sensitivity),
                self._share(one.specificity),
                str(one.undetermined),
                str(one.not_judged),
            )
            for one in found.labels
        )
        names = ("label", "sensitivity", "specificity", "undetermined", "not judged")
        return Section(self.words["reference"], (note,), self._header(*names), rows)

    def _gaps(self) -> Section:
        shown = [gap for gap in self.evidence.gaps if gap.enough]
        hidden = len(self.evidence.gaps) - len(shown)
        note = self.words["gaps note"].format(shown=len(shown), hidden=hidden, few=TOO_FEW)
        names = ("group", "measure", "inside", "rest", "difference")
        rows = tuple(self._gap(gap) for gap in shown)
        return Section(self.words["gaps"], (note,), self._header(*names), rows)

    def _gap(self, gap: Gap) -> tuple[str, ...]:
        return (
            f"{self.words[gap.variable]} {self._group(gap.group)}",
            f"{self.words[gap.measure]} {gap.of}".strip(),
            self._share(gap.inside),
            self._share(gap.rest),
            _points(gap.difference),
        )

    def _group(self, group: str) -> str:
        return self.words["unknown"] if group == UNKNOWN else group

    def _timings(self) -> Section:
        rows = tuple(
            (stage, f"{one.median:.0f}", f"{one.p95:.0f}", f"{one.n}{_few(one, self.language)}")
            for stage, one in self.evidence.timings.items()
        )
        return Section(
            self.words["timings"], (), (*self._header("stage", "median", "p95"), "n"), rows
        )


def _points(one: Difference | None) -> str:
    """In percentage points; a star where the interval leaves out zero."""
    if one is None:
        return ""
    value, low, high = (f"{round(part * 100):+d}" for part in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]{' *' if one.clear else ''}"
