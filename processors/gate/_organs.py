"""What an organ's images are and how headers name it: one record an organ, read by the rules.

Codes are those of PS3.16 CID 4 and 4009 for the organ and its sides or parts, with the older SNOMED
RT codes that archives still send.
"""

from __future__ import annotations

from dataclasses import dataclass

from processors.gate import _regions


@dataclass(frozen=True, slots=True)
class Organ:
    """accepted: the class of the gate file that passes. modalities: Modality values.
    populations: ages in completed years, both ends included.

    body_parts: words of which one must stand in a stated body part; codes: the same, coded.
    elsewhere: words that say another body part; surely_elsewhere: those that do in free text too.
    must_be_named: a header that names no body part is refused, because the gate of pixels has not
    seen other organs by the same modality. colour: colour encoding is usual and the content is
    asked instead.
    """

    name: str
    accepted: str
    modalities: tuple[str, ...]
    populations: tuple[tuple[int, int], ...]
    body_parts: tuple[str, ...]
    codes: tuple[str, ...]
    elsewhere: frozenset[str]
    surely_elsewhere: frozenset[str]
    must_be_named: bool = False
    colour: bool = False


ALL_AGES = ((0, 120),)
CHEST = Organ(
    name="chest",
    accepted="frontal",
    modalities=("CR", "DX"),
    populations=((1, 5), (18, 120)),
    body_parts=("CHEST", "THORAX", "TORAX", "LUNG", "LUNGS", "PULMON"),
    codes=("816094009", "51185008", "T-D3000"),  # chest, thoracic structure
    elsewhere=_regions.NOT_CHEST,
    surely_elsewhere=_regions.NOT_CHEST - _regions.AMBIGUOUS,
)
BRAIN = Organ(
    name="brain",
    accepted="brain",
    modalities=("MR",),
    populations=ALL_AGES,
    body_parts=(
        *("HEAD", "BRAIN", "SKULL", "CRANIUM", "CRANIAL", "CEREBRAL", "PITUITARY", "SELLA"),
        *("CABEZA", "CRANEO", "CRANEAL", "CEREBRO", "ENCEFALO", "ENCEFALICA", "HIPOFISIS"),
    ),
    codes=(
        *("12738006", "69536005", "89546000", "1101003"),  # brain, head, skull, intracranial
        *("56329008", "42575006"),  # pituitary, pituitary fossa
        *("T-A0100", "T-D1100", "T-11100", "T-D1400", "T-B1000", "T-D1460"),
    ),
    elsewhere=_regions.NOT_BRAIN,
    surely_elsewhere=_regions.NOT_BRAIN - _regions.AMBIGUOUS,
    must_be_named=True,
)
BREAST = Organ(
    name="breast",
    accepted="breast",
    modalities=("US",),
    populations=ALL_AGES,
    body_parts=(
        *("BREAST", "BREASTS", "MAMMA", "MAMMARY"),
        *("MAMA", "MAMAS", "MAMARIA", "MAMARIO", "SENO", "SENOS"),
    ),
    codes=(
        *("76752008", "80248007", "73056007", "63762007"),  # breast, left, right, both
        *("T-04000", "T-04030", "T-04020", "T-04080"),
    ),
    elsewhere=_regions.NOT_BREAST,
    surely_elsewhere=_regions.NOT_BREAST - _regions.AMBIGUOUS,
    must_be_named=True,
    colour=True,
)
# whatever a card names: its own modalities, body parts and views, and no gate of pixels of ours
ANY = Organ(
    name="any",
    accepted="",
    modalities=(),
    populations=ALL_AGES,
    body_parts=(),
    codes=(),
    elsewhere=frozenset(),
    surely_elsewhere=frozenset(),
)
ORGANS = {organ.name: organ for organ in (CHEST, BRAIN, BREAST, ANY)}
