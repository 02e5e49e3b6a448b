"""MONAI bundles: what is judged and how, what is refused, and that nothing of a bundle is run."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_bundles as foreign
import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet, UNet
from safetensors.torch import load_file

from processors import kinds
from processors.adapters import network
from processors.adapters.monai_bundle import OutputOutOfRange
from processors.analysis import BundleError, ModelOutputNotFinite, State, Status
from processors.bounded import DeviceFull
from processors.runtime import PickleWeights, WeightsCorrupt, WeightsMissing, WeightsShape
from processors.training.bundle import write_checksums

Folders = Callable[[str], Path]


def opened(folder: Path, language: str = "en") -> Any:
    wanted = kinds.Wanted("site", str(folder), language, device="cpu")
    return kinds.build("monai_bundle", wanted)


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "configs" / f"{name}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    write_checksums(folder)


# ---- classification -----------------------------------------------------------------------------
def test_a_film_is_classified_as_the_network_says(made: Folders) -> None:
    """Against the network itself, on the picture as MONAI's readers would load it."""
    study = foreign.study(foreign.film())
    analysis = opened(made("classifier")).analyse(study)
    plain = DenseNet(2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)
    plain.load_state_dict(load_file(made("classifier") / "models" / "model.safetensors"))
    picture = study.pixels(study.instances[0].uid, 1).T
    small = torch.nn.functional.interpolate(
        torch.tensor(picture)[None, None], (64, 64), mode="area"
    )
    with torch.no_grad():
        wanted = torch.sigmoid(plain.eval()(small))[0]
    assert [f.probability for f in analysis.findings] == pytest.approx(wanted.tolist(), abs=1e-4)
    nodule, effusion = analysis.findings
    assert (nodule.code.value, nodule.site.value) == ("27925004", "39607008")
    assert (effusion.band, effusion.threshold) == ((0.4, 0.6), 0.5)


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "en",
            ["for research only", "No explanation available for this kind", "not a probability"],
        ),
        ("es", ["solo para investigación", "No hay explicación para este tipo", "no una probab"]),
    ],
)
def test_every_report_says_what_the_model_is(
    made: Folders, language: str, sentences: list[str]
) -> None:
    analysis = opened(made("classifier"), language).analyse(foreign.study(foreign.film()))
    said = " ".join(analysis.notes)
    assert [one for one in sentences if one not in said] == []
    assert all(note in analysis.impression.text for note in analysis.notes)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"Modality": "MG"}, "modality"),
        ({"ViewPosition": "LL"}, "view"),
        ({"PatientAge": "009Y"}, "age"),
        ({"BodyPartExamined": "HAND"}, "body-part"),
        ({"NumberOfFrames": "3"}, "frames"),
        ({"PhotometricInterpretation": "RGB"}, "colour"),
        ({"ImageType": ["DERIVED", "SECONDARY"], "Modality": "OT"}, "secondary-capture"),
        ({"Rows": 16}, "resolution"),
    ],
)
def test_the_gate_refuses_by_header(made: Folders, said: dict[str, Any], kind: str) -> None:
    dataset = foreign.film()
    for keyword, value in said.items():
        setattr(dataset, keyword, value)
    processor, study = opened(made("classifier")), foreign.study(dataset)
    assert processor.accepts(study).kind == kind
    assert processor.analyse(study).status is Status.UNSUITABLE


@pytest.mark.parametrize("said", [{"BodyPartExamined": ""}, {"ViewPosition": ""}])
def test_silence_in_a_header_refuses_nothing(made: Folders, said: dict[str, str]) -> None:
    assert opened(made("classifier")).accepts(foreign.study(foreign.film(**said))) is None


# ---- segmentation -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["segmenter2d", "segmenter3d"])
def test_a_series_gets_a_mask_where_the_ball_is(made: Folders, name: str) -> None:
    study, truth = foreign.study(*foreign.ct_series()), foreign.ball_in_ct()
    analysis = opened(made(name)).analyse(study)
    (mask,) = analysis.masks
    places = {foreign.uid("ct", k): k for k in range(foreign.CT_SHAPE[0])}
    drawn = np.zeros_like(truth)
    for uid, plane in mask.planes.items():
        drawn[places[uid]] = plane
    assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.9
    (finding,) = analysis.findings
    assert finding.state is State.PRESENT
    assert abs(places[finding.instance_uid] - foreign.BALL_AT[0]) <= 2
    outline = np.array(finding.regions[0].points)
    row, column = foreign.BALL_AT[1:]
    middle = (outline.min(0) + outline.max(0)) / 2
    assert middle == pytest.approx((column + 0.5, row + 0.5), abs=2)
    assert finding.regions[0].shows == "extent"


@pytest.mark.parametrize(
    "cosines", [[-1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]]
)
def test_a_turned_volume_gives_the_same_mask(made: Folders, cosines: list[int]) -> None:
    """However the slices lie in space, the mask comes back onto their own grid."""
    normal = np.cross(cosines[:3], cosines[3:])
    series = foreign.ct_series(ImageOrientationPatient=cosines)
    for k, dataset in enumerate(series):
        dataset.ImagePositionPatient = [float(x) for x in 3.0 * k * normal]
    analysis = opened(made("segmenter3d")).analyse(foreign.study(*series))
    truth = foreign.ball_in_ct()
    (mask,) = analysis.masks
    hit = sum(
        int((mask.planes[u] & truth[k]).sum())
        for k, u in enumerate(str(d.SOPInstanceUID) for d in series)
        if u in mask.planes
    )
    assert hit > 0.8 * truth.sum()


@pytest.mark.parametrize("name", ["segmenter2d", "segmenter3d"])
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda d: None, None),
        (lambda d: setattr(d, "RescaleType", ""), None),
        (lambda d: setattr(d, "RescaleType", "US"), None),
        (lambda d: setattr(d, "RescaleType", "MGML"), "units"),
        (lambda d: delattr(d, "RescaleIntercept"), "units"),
        (lambda d: delattr(d, "RescaleSlope"), "units"),
    ],
    ids=["HU", "not said", "unspecified", "iodine", "no intercept", "no slope"],
)  # fmt: skip
def test_values_of_ct_are_hounsfield_units_or_none(
    made: Folders, name: str, change: Callable[[Any], object], kind: str | None
) -> None:
    series = foreign.ct_series()
    change(series[5])
    refusal = opened(made(name)).accepts(foreign.study(*series))
    assert (refusal.kind if refusal else None) == kind


@pytest.mark.parametrize("key", ["reverse_indexing", "swap_ij"])
@pytest.mark.parametrize("value", [True, False])
def test_a_reader_that_orders_axes_makes_the_card_say_which(
    copied: Folders, key: str, value: bool
) -> None:
    folder = copied("segmenter2d")
    loads = lambda c: c["preprocessing"]["transforms"][0].update({key: value})  # noqa: E731
    edit(folder, "inference", loads)
    with pytest.raises(WeightsShape, match=rf"order of axes \({key}\)"):
        opened(folder)
    edit(folder, "metadata", lambda m: m["dictamen"].update(axes="columns_first"))
    opened(folder)


@pytest.mark.parametrize(
    "more", [{"labels": ["RL", "AP", "SI"]}, {"as_closest_canonical": True}], ids=str
)
def test_an_orientation_that_means_other_letters_is_refused(
    copied: Folders, more: dict[str, Any]
) -> None:
    folder = copied("segmenter3d")
    steps = [{"_target_": "Orientation", "axcodes": "RAS", **more}, SPACED[1]]
    edit(folder, "metadata", lambda m: m["dictamen"].update(preprocessing=steps))
    with pytest.raises(BundleError, match="which is not done here"):
        opened(folder)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"threshold": 0.3}, r"nodule has threshold 0\.3"),
        ({"band": [0.4, 0.7]}, "nodule has a band"),
    ],
)
def test_what_a_segmenting_network_does_not_do_is_refused(
    copied: Folders, said: dict[str, Any], why: str
) -> None:
    folder = copied("segmenter2d")
    edit(folder, "metadata", lambda m: m["dictamen"]["labels"][0].update(said))
    with pytest.raises(WeightsShape, match=why):
        opened(folder)


@pytest.mark.parametrize("overlap", [0.5, [0.5, 0.25]], ids=["one", "by side"])
def test_the_window_s_overlap(copied: Folders, overlap: object) -> None:
    folder = copied("segmenter2d")
    edit(folder, "inference", lambda c: c["inferer"].update(overlap=overlap))
    analysis = opened(folder).analyse(foreign.study(*foreign.ct_series()))
    assert analysis.findings[0].state is State.PRESENT


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: edit(f, "inference", lambda c: c["inferer"].update(roi_size=None)),
        lambda f: edit(f, "inference", lambda c: c["inferer"].update(roi_size="large")),
        lambda f: edit(f, "metadata", lambda c: stated(c).update(spatial_shape=["0*n", 32])),
        lambda f: _rewritten(f, "configs/inference.json", b"[" * 100_000),
        lambda f: _rewritten(f, "configs/metadata.json", b"[" * 100_000),
        lambda f: (f / "checksums.sha256").write_bytes(b"\xff  models/x\n"),
    ],
    ids=["no window", "a window in words", "a side of nothing", "deep configuration", "deep card",
         "checksums that are no text"],
)  # fmt: skip
def test_a_file_that_nobody_can_make_sense_of_is_the_bundle_s_fault(
    copied: Folders, spoil: Callable[[Path], object]
) -> None:
    folder = copied("segmenter2d")
    spoil(folder)
    with pytest.raises(BundleError, match="segmenter2d"):
        opened(folder)


def stated(metadata: dict[str, Any]) -> dict[str, Any]:
    return metadata["network_data_format"]["inputs"]["image"]


def _rewritten(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    write_checksums(folder)


SPACED = [
    {"_target_": "Spacing", "pixdim": [1.0, 1.0]},
    {"_target_": "ScaleIntensityRange", **foreign.GREYS},
]


@pytest.mark.parametrize(
    ("axes", "given"), [("columns_first", (256, 96)), ("rows_first", (96, 256))]
)
def test_slices_are_brought_to_the_pixels_that_the_network_was_taught(
    copied: Folders, monkeypatch: pytest.MonkeyPatch, axes: str, given: tuple[int, int]
) -> None:
    """128 columns of 2 mm and 96 rows of 1 mm, to pixels of 1 mm."""
    folder, seen = copied("segmenter2d"), []
    edit(folder, "metadata", lambda m: m["dictamen"].update(preprocessing=SPACED, axes=axes))
    processor = opened(folder)
    run = type(processor._model)._run
    monkeypatch.setattr(
        type(processor._model), "_run", lambda s, i: (seen.append(i.shape[1:]), run(s, i))[1]
    )
    series = foreign.ct_series(PixelSpacing=[1.0, 2.0])
    analysis = processor.analyse(foreign.study(*series))
    assert {tuple(abs(a - b) <= 1 for a, b in zip(one, given, strict=True)) for one in seen} == {
        (True, True)
    }
    assert all(plane.shape == (96, 128) for m in analysis.masks for plane in m.planes.values())


@pytest.mark.parametrize(
    ("said", "kind"),
    [({}, "pixel-size"), ({"ImagerPixelSpacing": [0.2, 0.2]}, None),
     ({"PixelSpacing": [0.2, 0.2]}, None), ({"PixelSpacing": [0, 0]}, "pixel-size")],
)  # fmt: skip
def test_a_film_of_unknown_pixels_is_not_brought_to_a_size(
    copied: Folders, said: dict[str, Any], kind: str | None
) -> None:
    folder = copied("classifier")
    steps = [*SPACED, {"_target_": "Resize", "spatial_size": [64, 64]}]
    edit(folder, "metadata", lambda m: m["dictamen"].update(preprocessing=steps))
    refusal = opened(folder).accepts(foreign.study(foreign.film(**said)))
    assert (refusal.kind if refusal else None) == kind


def test_a_network_of_slices_is_not_given_a_turn_that_would_not_happen(copied: Folders) -> None:
    folder = copied("segmenter2d")
    steps = [{"_target_": "Orientation", "axcodes": "RAS"}, *SPACED]
    edit(folder, "metadata", lambda m: m["dictamen"].update(preprocessing=steps))
    with pytest.raises(WeightsShape, match="takes slices as they come"):
        opened(folder)


@pytest.mark.parametrize(
    ("least", "state"), [(0.5, State.PRESENT), (1e6, State.UNDETERMINED)], ids=["enough", "little"]
)
def test_how_much_is_present(copied: Folders, least: float, state: State) -> None:
    folder = copied("segmenter2d")
    edit(folder, "metadata", lambda m: m["dictamen"]["labels"][0].update(least=least))
    analysis = opened(folder).analyse(foreign.study(*foreign.ct_series()))
    assert analysis.findings[0].state is state


def test_nothing_there_is_absent(made: Folders) -> None:
    series = foreign.ct_series()
    for dataset in series:
        dataset.PixelData = series[3].PixelData
    analysis = opened(made("segmenter2d")).analyse(foreign.study(*series))
    (finding,) = analysis.findings
    if not analysis.masks:
        assert (finding.state, finding.regions) == (State.ABSENT, ())
    else:  # a stray pixel of the test's network is less than the card's half millilitre
        assert finding.state is State.UNDETERMINED


def test_a_film_gets_outlines_and_no_mask(made: Folders) -> None:
    analysis = opened(made("film_segmenter")).analyse(foreign.study(foreign.film()))
    (finding,) = analysis.findings
    assert analysis.masks == ()
    assert np.array(finding.regions[0].points).mean(0) == pytest.approx((67.2, 28.8), abs=3)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda s: s.pop(10), "slices"),
        (lambda s: [delattr(d, "ImagePositionPatient") for d in s], "geometry"),
        (lambda s: setattr(s[4], "PixelSpacing", [1.0, 1.0]), "geometry"),
        (lambda s: setattr(s[4], "FrameOfReferenceUID", "2.25.9"), "geometry"),
        (lambda s: setattr(s[4], "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "geometry"),
        (lambda s: [setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]) for d in s],
         "localizer"),
        (lambda s: [setattr(d, "ImageType", ["DERIVED", "SECONDARY", "AXIAL", "MIP"]) for d in s],
         "projection"),
        (lambda s: [setattr(d, "ImageType", ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]) for d in s],
         "projection"),
    ],
    ids=["a slice is missing", "no position", "spacing", "frame of reference", "turned", "scout",
         "largest values", "projection"],
)  # fmt: skip
def test_a_series_that_is_no_volume_is_refused(
    made: Folders, spoil: Callable[[list[Any]], object], kind: str
) -> None:
    series = foreign.ct_series()
    spoil(series)
    processor, study = opened(made("segmenter3d")), foreign.study(*series)
    assert processor.accepts(study).kind == kind
    assert processor.analyse(study).status is Status.UNSUITABLE


def _tilted() -> list[Any]:
    """As a gantry tilted by 20 degrees takes a head: the table moves on, the slices lie aslant."""
    series = foreign.ct_series()
    for k, dataset in enumerate(series):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, math.cos(0.35), math.sin(0.35)]
        dataset.ImagePositionPatient = [0.0, 0.0, 3.0 * k]
    return series


def test_a_slanted_volume_is_refused_by_a_network_of_volumes(made: Folders) -> None:
    study = foreign.study(*_tilted())
    assert opened(made("segmenter3d")).accepts(study).kind == "tilted"
    assert opened(made("segmenter2d")).analyse(study).status is Status.COMPLETED


def test_only_the_longest_series_is_judged_and_that_is_said(made: Folders) -> None:
    short = foreign.ct_series(SeriesInstanceUID=foreign.uid("short"))[:6]
    for number, dataset in enumerate(short):
        dataset.SOPInstanceUID = foreign.uid("short", number)
    analysis = opened(made("segmenter2d")).analyse(foreign.study(*foreign.ct_series(), *short))
    assert any("Only the longest series (24 slices)" in note for note in analysis.notes)
    assert not set(analysis.masks[0].planes) & {str(d.SOPInstanceUID) for d in short}


# ---- numbers that are not what the card says ----------------------------------------------------
def test_a_score_is_not_taken_for_a_probability(copied: Folders) -> None:
    """activation none, and the network gives logits: 7 is no 100 %."""
    folder = copied("classifier")
    edit(folder, "metadata", lambda m: m["dictamen"].update(activation="none"))
    state = load_file(folder / "models" / "model.safetensors")
    state["class_layers.out.bias"] = torch.tensor([7.0, -7.0])
    foreign.save(folder, state)
    write_checksums(folder)
    with pytest.raises(OutputOutOfRange, match=r"dictamen\.activation"):
        opened(folder).analyse(foreign.study(foreign.film()))


def test_a_softmax_of_one_channel_is_refused(copied: Folders) -> None:
    """It is 1 whatever the film."""
    folder = copied("classifier")
    state = load_file(folder / "models" / "model.safetensors")
    for name in ("class_layers.out.weight", "class_layers.out.bias"):
        state[name] = state[name][:1]
    foreign.save(folder, state)
    edit(folder, "inference", lambda c: c["network_def"].update(out_channels=1))
    edit(folder, "metadata", lambda m: m["dictamen"]["labels"].pop())
    assert opened(folder).algorithm.name == "films"
    edit(folder, "metadata", lambda m: m["dictamen"].update(activation="softmax"))
    with pytest.raises(WeightsShape, match="always 1"):
        opened(folder)


@pytest.mark.parametrize(
    ("channels", "refused"),
    [
        ({"0": "Nodule", "1": "pleural_effusion"}, False),
        ({"0": "finding", "1": "finding"}, False),
        ({"0": "pleural effusion", "1": "nodule"}, True),
        ({"0": "background", "1": "Nodule"}, True),
    ],
)
def test_labels_in_another_order_than_the_network_s_are_refused(
    copied: Folders, channels: dict[str, str], refused: bool
) -> None:
    def stated(metadata: dict[str, Any]) -> None:
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = channels

    folder = copied("classifier")
    edit(folder, "metadata", stated)
    if not refused:
        assert opened(folder).algorithm.name == "films"
        return
    with pytest.raises(WeightsShape, match="channel_def"):
        opened(folder)


def test_a_number_beyond_the_network_s_channels_names_a_value_of_its_mask(copied: Folders) -> None:
    """One channel and a sigmoid: background and finding are values, and no channels."""

    def stated(metadata: dict[str, Any]) -> None:
        channels = {"0": "background", "2": "Nodule"}
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = channels

    folder = copied("classifier")
    edit(folder, "metadata", stated)
    assert opened(folder).algorithm.name == "films"


def test_a_device_that_is_full_is_not_the_image_s_fault(
    made: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own error is raised where a GPU would raise it: the run waits and is tried again."""
    processor, study = opened(made("classifier")), foreign.study(foreign.film())

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(DenseNet, "forward", full)
        with pytest.raises(DeviceFull):
            processor.analyse(study)
    assert processor.analyse(study).status is Status.COMPLETED


# ---- what is never run, and what is not whole ---------------------------------------------------
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("network_def", {"_target_": "os.system", "command": "true"}, "os.system"),
        ("network_def", {"_target_": "scripts.net.Net"}, "scripts.net.Net"),
        ("network_def", {"_target_": "monai.networks.nets.resnet.get_pretrained_resnet_medicalnet"},
         "get_pretrained"),
        ("network_def", "$import_module('os')", "_target_"),
        ("network_def", {"_target_": "UNet", "spatial_dims": "$1+1"}, "computes"),
        ("network_def", {"_target_": "UNet", "act": {"_target_": "os.getcwd"}}, "os.getcwd"),
        ("network_def", {"_target_": "UNet", "_mode_": "callable"}, "_mode_"),
        ("network_def", {"_target_": "UNet", "channels": "@nowhere"}, "nowhere"),
        ("network_def", {"_target_": "UNet", "channels": "@network_def::channels"}, "without end"),
        ("preprocessing", "$exec('x')", "computed"),
        ("preprocessing", {"_target_": "Compose", "transforms": [{"_target_": "Lambdad",
         "func": "$print"}]}, "Lambdad"),
        ("preprocessing", {"_target_": "Compose", "transforms": [{"_target_":
         "scripts.own.Resize"}]}, "scripts.own"),
        ("preprocessing", {"_target_": "Compose", "transforms": [{"_target_": "Spacingd",
         "pixdim": "$[1,1,1]"}]}, "computes"),
    ],
)  # fmt: skip
def test_code_of_a_bundle_is_refused(copied: Folders, place: str, value: Any, message: str) -> None:
    folder = copied("segmenter2d")
    edit(folder, "inference", lambda config: config.update({place: value}))
    with pytest.raises(BundleError, match=message):
        opened(folder)


def test_nothing_is_fetched() -> None:
    """A network whose class of MONAI's fetches weights unless told otherwise is built without."""
    said = {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "in_channels": 1}
    assert network.build({"network_def": {**said, "pretrained": True}})


class Callable_:  # what a whole pickled model brings along
    pass


@pytest.mark.parametrize("ending", ["pt", "pth"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["in a checkpoint", "bare"])
def test_a_state_dict_is_read_as_tensors(copied: Folders, ending: str, wrapped: bool) -> None:
    folder = copied("classifier")
    models = folder / "models"
    state = load_file(models / "model.safetensors")
    study = foreign.study(foreign.film())
    before = opened(folder).analyse(study).findings
    (models / "model.safetensors").unlink()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, models / f"model.{ending}")
    write_checksums(folder)
    assert opened(folder).analyse(study).findings == before


def _pickled(folder: Path) -> None:
    (folder / "models" / "model.safetensors").unlink()
    torch.save({"state_dict": {}, "model": Callable_()}, folder / "models" / "model.pt")


def _plain_pickle(folder: Path) -> None:
    (folder / "models" / "model.safetensors").unlink()
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(Callable_()))


def _torchscript(folder: Path) -> None:
    script = torch.jit.script(torch.nn.ReLU())
    torch.jit.save(script, folder / "models" / "model.ts")


def _other_net(folder: Path) -> None:
    state = UNet(2, 1, 2, (4, 8), (2,)).state_dict()
    foreign.save(folder, state)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_pickled, PickleWeights, "more than tensors.*Callable_"),
        (_plain_pickle, PickleWeights, "more than tensors"),
        (_torchscript, PickleWeights, "model.ts"),
        (_other_net, WeightsShape, "another architecture"),
        (lambda f: (f / "models" / "model.safetensors").write_bytes(b"x" * 99), WeightsCorrupt,
         "cannot be read"),
        (lambda f: (f / "models" / "model.safetensors").unlink(), WeightsMissing, "no weights"),
        (lambda f: (f / "configs" / "inference.json").write_text("{"), WeightsCorrupt, "no JSON"),
    ],
    ids=["pickled model", "pickle", "torchscript", "other net", "garbage", "none", "no json"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_weights_that_are_not_taken(
    copied: Folders, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    folder = copied("classifier")
    spoil(folder)
    write_checksums(folder)
    with pytest.raises(error, match=message):
        opened(folder)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"_target_": "RepeatChannel", "repeats": 3}, r"does not take an image of \(3, 96, 96\)"),
        ({"_target_": "Resize", "spatial_size": [63, 63]}, r"answers \(64, 64\) to an image of"),
    ],
    ids=["channels", "a side that it does not keep"],
)
def test_an_image_that_the_network_does_not_take_is_said(
    copied: Folders, step: dict[str, Any], message: str
) -> None:
    folder = copied("film_segmenter")
    edit(folder, "metadata", lambda m: m["dictamen"].update(preprocessing=[step]))
    with pytest.raises(WeightsShape, match=message):
        opened(folder).analyse(foreign.study(foreign.film()))


def test_no_finding_is_made_of_what_is_no_number(copied: Folders) -> None:
    folder = copied("segmenter3d")
    state = load_file(folder / "models" / "model.safetensors")
    spoilt = {k: v * torch.nan if v.is_floating_point() else v for k, v in state.items()}
    foreign.save(folder, spoilt)
    write_checksums(folder)
    with pytest.raises(ModelOutputNotFinite):
        opened(folder).analyse(foreign.study(*foreign.ct_series()))


# ---- ONNX ---------------------------------------------------------------------------------------
def test_a_graph_in_onnx_is_run(copied: Folders) -> None:
    folder = foreign.onnx_classifier(copied("classifier"))
    study = foreign.study(foreign.film())
    nodule, effusion = opened(folder).analyse(study).findings
    mean = float(study.pixels(study.instances[0].uid, 1).mean())
    assert nodule.probability == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-3)
    assert effusion.probability == pytest.approx(1 - nodule.probability, abs=1e-5)


def test_a_graph_of_another_input_is_refused(copied: Folders) -> None:
    with pytest.raises(WeightsShape, match=r"takes .* the metadata says"):
        opened(foreign.onnx_classifier(copied("classifier"), channels=3))
