"""Every way in which an image can be stored, seen as a radiologist would see it."""

from __future__ import annotations

import csv
import io
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from processors import pixels
from processors.pixels import Cause, RefusedPixels

RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)  # 0..3071, brighter downwards


def picture(values: np.ndarray = RAMP, **attributes: Any) -> Dataset:
    """A grey image object around stored values; attributes are set last."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.Rows, made.Columns = values.shape[-2:]
    if values.ndim == 3:
        made.NumberOfFrames = len(values)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = values.dtype.itemsize * 8
    made.BitsStored = attributes.pop("BitsStored", made.BitsAllocated)
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(values.dtype.kind == "i")
    made.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    made["PixelData"].VR = "OB" if made.BitsAllocated == 8 else "OW"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def lut(first: int, entries: list[int], bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


def item(**attributes: Any) -> Sequence:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return Sequence([made])


SHADES = np.array([[0, 100, 200, 300]], dtype=np.int16)
S = SHADES


@pytest.mark.parametrize(
    ("dataset", "seen"),
    [
        pytest.param(
            picture(S, WindowCenter=150, WindowWidth=301), [0.0017, 0.335, 0.668, 1], id="linear"
        ),
        pytest.param(
            picture(S, WindowCenter=150, WindowWidth=300, VOILUTFunction="LINEAR_EXACT"),
            [0, 1 / 3, 2 / 3, 1],
            id="linear exact",
        ),
        pytest.param(
            picture(S, WindowCenter=100, WindowWidth=400, VOILUTFunction="SIGMOID"),
            [0.2689, 0.5, 0.7311, 0.8808],
            id="sigmoid",
        ),
        pytest.param(
            picture(S, WindowCenter=[150, 5], WindowWidth=[301, 2]),
            [0.0017, 0.335, 0.668, 1],
            id="first of two windows",
        ),
        pytest.param(
            picture(S, WindowCenter=150, WindowWidth=1), [0, 0, 1, 1], id="window of one"
        ),
        pytest.param(
            picture(S, WindowCenter=150, WindowWidth=0), [0, 1 / 3, 2 / 3, 1], id="width zero"
        ),
        pytest.param(
            picture(S, WindowCenter=9000, WindowWidth=10),
            [0, 1 / 3, 2 / 3, 1],
            id="window beside the picture",
        ),
        pytest.param(picture(S), [0, 1 / 3, 2 / 3, 1], id="no window: percentiles"),
        pytest.param(
            picture(S, PhotometricInterpretation="MONOCHROME1"),
            [1, 2 / 3, 1 / 3, 0],
            id="MONOCHROME1",
        ),
        pytest.param(
            picture(S, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
            [1, 2 / 3, 1 / 3, 0],
            id="MONOCHROME1 and INVERSE invert once",
        ),
        pytest.param(
            picture(S, PresentationLUTShape="INVERSE"), [1, 2 / 3, 1 / 3, 0], id="INVERSE alone"
        ),
        pytest.param(
            picture(S, PresentationLUTShape="IDENTITY"), [0, 1 / 3, 2 / 3, 1], id="IDENTITY"
        ),
        pytest.param(
            picture(
                S, RescaleSlope=2, RescaleIntercept=-300, WindowCenter=0,
                WindowWidth=600, VOILUTFunction="LINEAR_EXACT",
            ),
            [0, 1 / 3, 2 / 3, 1],
            id="rescale before window",
        ),
        pytest.param(
            picture(
                np.array([[0, 1, 2, 3]], np.uint16), ModalityLUTSequence=lut(0, [0, 10, 40, 90], 8)
            ),
            [0, 1 / 9, 4 / 9, 1],
            id="modality LUT sequence",
        ),
        pytest.param(
            picture(
                np.array([[5, 11, 12, 99]], np.uint16),
                VOILUTSequence=lut(10, [0, 51, 102, 255], 8),
                WindowCenter=1,
                WindowWidth=2,
            ),
            [0, 0.2, 0.4, 1],
            id="VOI LUT sequence before window, clamped at its ends",
        ),
        pytest.param(
            picture(
                np.array([[0, 1, 2, 3]], np.uint16), VOILUTSequence=lut(0, [0, 100, 200, 400], 16)
            ),
            [0, 0.25, 0.5, 1],
            id="VOI LUT whose bits are wrong",
        ),
        pytest.param(
            picture(S, PixelPaddingValue=300), [0, 0.5, 1, 0], id="padding is black and uncounted"
        ),
        pytest.param(
            picture(S, PixelPaddingValue=200, PixelPaddingRangeLimit=300,
                    PhotometricInterpretation="MONOCHROME1"),
            [1, 0, 0, 0],
            id="padding range is black after inversion",
        ),
        pytest.param(
            picture(np.array([[-200, -100, 0, 100]], np.int16)), [0, 1 / 3, 2 / 3, 1], id="signed"
        ),
        pytest.param(
            picture(np.array([[-2000, 0, 50, 100]], np.int16), PixelPaddingValue=63536,
                    PhotometricInterpretation="MONOCHROME1"),
            [0, 1, 0.5, 0],
            id="padding of signed pixels, written as unsigned",
        ),
        pytest.param(
            picture(np.array([[0xF000, 0xF001, 2, 3]], np.uint16), BitsStored=12),
            [0, 1 / 3, 2 / 3, 1],
            id="rubbish above the stored bits",
        ),
        pytest.param(
            picture(np.array([[0, 1, 2, 3]], np.uint16) * 16, BitsStored=12, HighBit=15),
            [0, 1 / 3, 2 / 3, 1],
            id="stored bits at the top of the word",
        ),
        pytest.param(picture(np.array([[7, 7, 7, 7]], np.uint8)), [0, 0, 0, 0], id="one grey"),
        pytest.param(
            picture(np.array([[0, 1, 2, 3]], np.uint32)), [0, 1 / 3, 2 / 3, 1], id="32 bits"
        ),
    ],
)  # fmt: skip
def test_shades(dataset: Dataset, seen: list[float]) -> None:
    shown = pixels.render(dataset)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown[0], seen, atol=0.008)  # percentiles 0.5 and 99.5


def test_big_endian() -> None:
    made = picture(RAMP.astype(">u2"))
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(pixels.render(made), pixels.render(picture()))


FRAMES = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 9)])


@pytest.mark.parametrize(("frame", "brighter"), [(1, "below"), (2, "above")])
def test_frame_is_chosen(frame: int, brighter: str) -> None:
    shown = pixels.render(picture(FRAMES), frame)
    assert (shown[-1].mean() > shown[0].mean()) == (brighter == "below")


def test_functional_groups_win_over_the_top_level() -> None:
    made = picture(FRAMES, WindowCenter=1, WindowWidth=2)
    made.SharedFunctionalGroupsSequence = item(
        PixelValueTransformationSequence=item(RescaleSlope=2, RescaleIntercept=0),
        PixelMeasuresSequence=item(PixelSpacing=[2, 1]),
    )
    window = {"WindowCenter": 3071, "WindowWidth": 6142, "VOILUTFunction": "LINEAR_EXACT"}
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [Dataset(), item(FrameVOILUTSequence=item(**window))[0], Dataset()]
    )
    np.testing.assert_allclose(pixels.render(made, 2), RAMP[::-1] / 3071, atol=1e-5)
    assert pixels.aspect(made) == 2.0


SQUARE = np.full((9, 9), 50, np.uint8)
SQUARE[0, 0] = 0


@pytest.mark.parametrize(
    ("shutter", "open_pixels"),
    [
        pytest.param(
            {
                "ShutterShape": "RECTANGULAR",
                "ShutterUpperHorizontalEdge": 2,
                "ShutterLowerHorizontalEdge": 8,
                "ShutterLeftVerticalEdge": 1,
                "ShutterRightVerticalEdge": 5,
            },
            5 * 3,
            id="rectangle",
        ),
        pytest.param(
            {
                "ShutterShape": "CIRCULAR",
                "CenterOfCircularShutter": [5, 5],
                "RadiusOfCircularShutter": 2,
            },
            13,
            id="circle",
        ),
        pytest.param(
            {
                "ShutterShape": "POLYGONAL",
                "VerticesOfThePolygonalShutter": [2, 2, 2, 8, 8, 8, 8, 2],
            },
            49,
            id="polygon",
        ),
        pytest.param(
            {
                "ShutterShape": ["CIRCULAR", "RECTANGULAR"],
                "CenterOfCircularShutter": [5, 5],
                "RadiusOfCircularShutter": 2,
                "ShutterUpperHorizontalEdge": 0,
                "ShutterLowerHorizontalEdge": 5,
                "ShutterLeftVerticalEdge": 0,
                "ShutterRightVerticalEdge": 10,
            },
            4,
            id="both",
        ),
        pytest.param({"ShutterShape": "RECTANGULAR"}, 81, id="incomplete is ignored"),
    ],
)
def test_outside_a_shutter_is_black(shutter: dict[str, Any], open_pixels: int) -> None:
    window = {"WindowCenter": 25, "WindowWidth": 2}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        bright = SQUARE if photometric == "MONOCHROME2" else np.zeros_like(SQUARE)
        shown = pixels.render(
            picture(bright, PhotometricInterpretation=photometric, **window, **shutter)
        )
        hidden_corner = int(photometric == "MONOCHROME2" and open_pixels == 81)
        assert np.count_nonzero(shown) == open_pixels - hidden_corner


def colour(values: np.ndarray, photometric: str, **attributes: Any) -> Dataset:
    """values: (rows, columns, 3) uint8."""
    made = picture(values[..., 0].copy(), PhotometricInterpretation=photometric)
    made.SamplesPerPixel, made.PlanarConfiguration = 3, 0
    made.PixelData = values.tobytes()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


RGB = np.zeros((2, 4, 3), np.uint8)
RGB[:, 1, 0] = RGB[:, 2, 1] = RGB[:, 3, 2] = 255
YBR = np.zeros((2, 4, 3), np.uint8)
YBR[..., 0], YBR[..., 1:] = [0, 76, 150, 255], 128


@pytest.mark.parametrize(
    ("dataset", "light"),
    [
        pytest.param(colour(RGB, "RGB"), [0, 0.299, 0.587, 0.114], id="RGB"),
        pytest.param(
            colour(np.moveaxis(RGB, -1, 0).copy(), "RGB", Rows=2, Columns=4,
                   PlanarConfiguration=1),
            [0, 0.299, 0.587, 0.114],
            id="RGB by plane",
        ),
        pytest.param(colour(YBR, "YBR_FULL"), [0, 0.298, 0.588, 1], id="YBR_FULL"),
        pytest.param(
            picture(
                np.array([[0, 1, 2, 3]] * 2, np.uint8),
                PhotometricInterpretation="PALETTE COLOR",
                **{
                    f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16]
                    for name in ("Red", "Green", "Blue")
                },
                **{
                    f"{name}PaletteColorLookupTableData": np.array(data, "<u2").tobytes()
                    for name, data in {
                        "Red": [0, 65535, 0, 0],
                        "Green": [0, 0, 65535, 0],
                        "Blue": [0, 0, 0, 65535],
                    }.items()
                },
            ),
            [0, 0.299, 0.587, 0.114],
            id="palette",
        ),
    ],
)  # fmt: skip
def test_colour_becomes_luminance(dataset: Dataset, light: list[float]) -> None:
    np.testing.assert_allclose(pixels.render(dataset)[0], light, atol=0.005)


@pytest.mark.parametrize(
    ("dataset", "measured"),
    [
        pytest.param(picture(S, WindowCenter=1, WindowWidth=2), [0, 100, 200, 300], id="as stored"),
        pytest.param(picture(S, RescaleSlope=2, RescaleIntercept=-1000), [-1000, -800, -600, -400],
                     id="Hounsfield units"),
        pytest.param(picture(S, PhotometricInterpretation="MONOCHROME1"), [0, 100, 200, 300],
                     id="not inverted"),
    ],
)  # fmt: skip
def test_what_was_measured(dataset: Dataset, measured: list[float]) -> None:
    np.testing.assert_array_equal(pixels.values(dataset)[0], measured)


def test_a_picture_in_colour_measures_nothing() -> None:
    with pytest.raises(RefusedPixels):
        pixels.values(colour(RGB, "RGB"))


@pytest.mark.parametrize(
    ("dataset", "share"),
    [
        pytest.param(colour(RGB, "RGB"), 0.75, id="three of four columns"),
        pytest.param(colour(np.full((2, 4, 3), 90, np.uint8), "RGB"), 0.0, id="grey as RGB"),
        pytest.param(colour(np.full((2, 4, 3), (90, 110, 100), np.uint8), "RGB"), 0.0,
                     id="what a codec leaves on grey"),
        pytest.param(colour(np.full((2, 4, 3), 128, np.uint8), "YBR_FULL"), 0.0, id="grey YBR"),
        pytest.param(picture(), 0.0, id="grey"),
    ],
)  # fmt: skip
def test_share_of_coloured_pixels(dataset: Dataset, share: float) -> None:
    assert pixels.colour(dataset) == pytest.approx(share)


@pytest.mark.parametrize(
    ("attributes", "ratio"),
    [
        pytest.param({}, 1.0, id="nothing stated"),
        pytest.param({"PixelAspectRatio": [4, 3]}, 4 / 3, id="ratio"),
        pytest.param({"ImagerPixelSpacing": [0.2, 0.1]}, 2.0, id="imager spacing"),
        pytest.param({"PixelSpacing": [0.1, 0.0]}, 1.0, id="zero spacing"),
    ],
)
def test_aspect(attributes: dict[str, Any], ratio: float) -> None:
    assert pixels.aspect(picture(**attributes)) == pytest.approx(ratio)


# ---- what must be refused -------------------------------------------------------------


def refused(dataset: Dataset, frame: int = 1) -> Cause:
    with pytest.raises(RefusedPixels) as caught:
        pixels.render(dataset, frame)
    assert len(str(caught.value)) > 20, "a person must understand the reason"
    return caught.value.cause


def without(keyword: str) -> Dataset:
    made = picture()
    delattr(made, keyword)
    return made


@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(without("PixelData"), id="absent"),
        pytest.param(picture(PixelData=b""), id="empty"),
    ],
)
def test_ds_no_pixels(dataset: Dataset) -> None:
    assert refused(dataset) is Cause.MISSING


def claims_jpeg(rows: int, columns: int) -> bytes:
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return b"\xff\xd8\xff\xc0\x00\x0b\x08" + size + b"\x01\x01\x11\x00" + b"\0" * 80 + b"\xff\xd9"


def jpeg(stream: bytes, syntax: UID = JPEGBaseline8Bit) -> Dataset:
    made = picture(RAMP.astype(np.uint8))
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([stream])
    made["PixelData"].is_undefined_length = True
    return made


@pytest.mark.parametrize(
    ("dataset", "cause"),
    [
        pytest.param(
            picture(Rows=31_623, Columns=31_623, PixelData=b"\0" * 100),
            Cause.TOO_LARGE,
            id="a billion pixels",
        ),
        pytest.param(
            picture(Rows=7_000, Columns=7_000, PixelData=b"\0" * 100),
            Cause.TOO_SHORT,
            id="a large detector",
        ),
        pytest.param(
            picture(NumberOfFrames=5_000), Cause.TOO_SHORT, id="frames that are not there"
        ),
        pytest.param(picture(Rows=65), Cause.TOO_SHORT, id="one row more"),
        pytest.param(jpeg(claims_jpeg(65_000, 65_000)), Cause.CONTRADICTORY, id="the stream lies"),
    ],
)
def test_ds_pixel_size_lie(dataset: Dataset, cause: Cause) -> None:
    tracemalloc.start()
    try:
        assert refused(dataset) is cause
        assert tracemalloc.get_traced_memory()[1] < 2_000_000, "nothing large may be allocated"
    finally:
        tracemalloc.stop()


def encoded(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    grey = (RAMP // 12).astype(np.uint8)
    Image.fromarray(grey).save(file, kind, **options)
    return file.getvalue()


def compressed(syntax: UID) -> Dataset:
    made = picture((RAMP // 12).astype(np.uint8), SOPClassUID="1.2.3", SOPInstanceUID="1.2.4")
    made.compress(syntax, generate_instance_uid=False)
    return made


def cut(dataset: Dataset) -> Dataset:
    """The same object with the second half of its only frame lost."""
    from pydicom.encaps import get_frame

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    return dataset


CODECS: list[tuple[str, Callable[[], Dataset]]] = [
    ("JPEG", lambda: jpeg(encoded("JPEG"))),
    ("JPEG 2000", lambda: jpeg(encoded("JPEG2000", no_jp2=True), JPEG2000Lossless)),
    ("JPEG-LS", lambda: compressed(JPEGLSLossless)),
    ("RLE", lambda: compressed(RLELossless)),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CODECS])
def test_ds_broken_codec(make: Callable[[], Dataset]) -> None:
    whole = pixels.render(make())
    np.testing.assert_allclose(
        whole, pixels.render(picture((RAMP // 12).astype(np.uint8))), atol=0.1
    )
    assert refused(cut(make())) is Cause.DAMAGED


def test_ds_broken_codec_that_lost_only_its_end_marker() -> None:
    stream = encoded("JPEG")
    assert stream.endswith(b"\xff\xd9")
    assert refused(jpeg(stream[:-2] + b"\0\0")) is Cause.DAMAGED


def deflated(path: Path, size: int) -> Path:
    """A file whose data set inflates to `size` bytes."""
    made = picture(np.zeros((size // 2_000, 1_000), np.uint16))
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)
    return path


def test_deflate_bomb(tmp_path: Path) -> None:
    bomb = deflated(tmp_path / "bomb.dcm", 40_000_000)
    assert bomb.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(RefusedPixels) as caught:
            pixels.read_dataset(bomb, limit=4_000_000)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.cause is Cause.TOO_LARGE
    assert pixels.render(pixels.read_dataset(bomb)).shape == (20_000, 1_000)


def test_deflated_stream_that_is_broken_is_refused(tmp_path: Path) -> None:
    file = deflated(tmp_path / "broken.dcm", 100_000)
    file.write_bytes(file.read_bytes()[:-40] + zlib.compress(b"other")[:20])
    with pytest.raises(RefusedPixels):
        pixels.render(pixels.read_dataset(file))


@pytest.mark.parametrize(
    ("dataset", "cause"),
    [
        pytest.param(picture(Rows=0), Cause.CONTRADICTORY, id="no rows"),
        pytest.param(without("Rows"), Cause.CONTRADICTORY, id="rows missing"),
        pytest.param(picture(BitsAllocated=12), Cause.CONTRADICTORY, id="12 bits allocated"),
        pytest.param(picture(SamplesPerPixel=3), Cause.CONTRADICTORY, id="grey in 3 samples"),
        pytest.param(
            picture(PhotometricInterpretation="CMYK"), Cause.UNSUPPORTED, id="unknown colours"
        ),
        pytest.param(
            jpeg(encoded("JPEG"), UID("1.2.840.10008.1.2.4.53")), Cause.UNSUPPORTED, id="retired"
        ),
        pytest.param(jpeg(b"\0" * 100), Cause.DAMAGED, id="no stream at all"),
        pytest.param(
            jpeg(encoded("JPEG"), UID("1.2.840.10008.1.2.4.100")), Cause.UNSUPPORTED, id="video"
        ),
    ],
)
def test_refused_with_its_cause(dataset: Dataset, cause: Cause) -> None:
    assert refused(dataset) is cause


def test_frame_that_is_not_there() -> None:
    assert refused(picture(FRAMES), 4) is Cause.MISSING


# ---- real files -----------------------------------------------------------------------

# what differs from the manifest's column `decodes`, and why
OTHERWISE = {
    "chest/gdcm_cr_mono1_10bit_no_meta.dcm": (440, 440),  # read as implicit VR, as it is
    "documents/parametric_map_float.dcm": None,  # float pixels are no picture
}


def expected_shape(row: dict[str, str]) -> tuple[int, int] | None:
    if row["file"] in OTHERWISE:
        return OTHERWISE[row["file"]]
    said, _, size = row["decodes"].partition(" ")
    if said != "yes" or "x" not in size:
        return None
    sides = [int(side) for side in size.split("x")]
    if (sides[-1] == 3 and len(sides) > 2) or (sides[-1] == 3 and row["photometric"] == "RGB"):
        sides = sides[:-1]
    return sides[-2], sides[-1]


@pytest.mark.shared
def test_every_shared_file_is_shown_or_refused(shared: Path) -> None:
    folder, wrong = shared / "data" / "dicom", {}
    with (folder / "manifest.csv").open(newline="") as listing:
        rows = list(csv.DictReader(listing))
    for row in rows:
        try:
            shown = pixels.render(pixels.read_dataset(folder / row["file"]))
            fine = np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1
            got = shown.shape if fine else "not within 0..1"
        except RefusedPixels:
            got = None
        if got != expected_shape(row):
            wrong[row["file"]] = (got, expected_shape(row))
    assert len(rows) > 90
    assert wrong == {}


def shown(shared: Path, name: str) -> np.ndarray:
    return pixels.render(pixels.read_dataset(shared / "data" / "dicom" / name))


CT = "transfer_syntax/ct_1.2.840.10008.1.2"
BARS = "luts/rgb_32bit.dcm"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        *(
            pytest.param(f"{CT}{end}.dcm", f"{CT}_implicit.dcm", apart, id=end)
            for end, apart in {
                ".1.99_deflated": 0, ".4.57_jpeg_lossless": 0, ".4.70_jpeg_lossless_sv1": 0,
                ".4.80_jpegls": 0, ".4.81_jpegls_near": 0.01, ".4.90_j2k": 0,
                ".4.91_j2k_lossy": 0.01,
                ".5_rle": 0, ".4.51_jpeg_extended": 0.02, ".4.50_jpeg_baseline": 0.03,
            }.items()
        ),
        pytest.param(
            "transfer_syntax/mr_1.2.840.10008.1.2.2_big_endian.dcm", "modalities/mr_small.dcm", 0,
            id="big endian",
        ),
        pytest.param(
            "luts/pixel_data_with_trailing_padding.dcm", "modalities/mr_small.dcm", 0,
            id="trailing bytes",
        ),
        pytest.param("luts/rgb_planar1.dcm", "luts/rgb_planar0.dcm", 0, id="planar"),
        pytest.param("luts/ybr_full_uncompressed.dcm", BARS, 0.01, id="YBR_FULL"),
        pytest.param("luts/ybr_422_uncompressed.dcm", BARS, 0.01, id="YBR_FULL_422"),
        pytest.param("transfer_syntax/sc_rle_16bit_2frame.dcm", BARS, 0.01, id="RLE 16 bit RGB"),
        pytest.param(
            "transfer_syntax/sc_1.2.840.10008.1.2.4.203_htj2k.dcm",
            "transfer_syntax/sc_1.2.840.10008.1.2.4.201_htj2k_lossless.dcm", 0.02, id="HTJ2K",
        ),
        pytest.param(
            "chest/gdcm_cr_mono1_10bit_no_meta.dcm", "chest/gdcm_cr_mono1_10bit.dcm", 0,
            id="without File Meta",
        ),
        pytest.param(
            "luts/voi_lut_sequence.dcm", "luts/modality_lut_sequence.dcm", 0.05, id="LUT charts"
        ),
    ],
)  # fmt: skip
def test_same_picture_in_another_encoding(shared: Path, one: str, other: str, apart: float) -> None:
    difference = np.abs(shown(shared, one) - shown(shared, other)).mean()
    assert difference <= apart + 1e-6


@pytest.mark.shared
def test_monochrome1_is_the_inverse_of_the_same_bytes(shared: Path) -> None:
    plain = shown(shared, "chest/rsna_cr_pa_jpeg_baseline.dcm")
    inverse = shown(shared, "chest/rsna_same_uid_other_photometric.dcm")
    np.testing.assert_allclose(inverse, 1 - plain, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "bright", "dark"),
    [
        # (rows, columns) as parts of the side: spine against lung, shaft against air
        pytest.param("chest/gdcm_cr_mono1_10bit.dcm", (0.7, 0.5), (0.4, 0.25), id="gdcm MONO1"),
        pytest.param("chest/nema_rg1_cr_mono1_15bit_j2k_lossy.dcm", (0.7, 0.5), (0.35, 0.27),
                     id="RG1 MONO1"),
        pytest.param("chest/rsna_cr_pa_jpeg_baseline.dcm", (0.7, 0.55), (0.4, 0.27), id="RSNA"),
        pytest.param("modalities/ct_signed.dcm", (0.75, 0.5), (0.02, 0.02), id="CT signed"),
        pytest.param("not_chest/mg_mlo_jpeg_lossless.dcm", (0.5, 0.7), (0.5, 0.1), id="MG"),
    ],
)  # fmt: skip
def test_bone_is_bright(
    shared: Path, name: str, bright: tuple[float, float], dark: tuple[float, float]
) -> None:
    picture = shown(shared, name)

    def level(place: tuple[float, float]) -> float:
        row, column = (int(part * side) for part, side in zip(place, picture.shape, strict=True))
        reach = max(2, picture.shape[0] // 50)
        return float(
            picture[max(row - reach, 0) : row + reach, column - reach : column + reach].mean()
        )

    assert level(bright) > level(dark) + 0.1
