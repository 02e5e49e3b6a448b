"""Passes within memory: what is split, what is halved, what goes elsewhere, and that it is said.

Memory of the CPU is really used up here. A GPU's is not: there torch's own errors are raised in the
place where a GPU would raise them, below `TorchNetworks`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from processors.analysis import TryLater
from processors.bounded import MOST, Bounded, DeviceFull, DeviceLost, largest_batch
from processors.runtime import Bundle, open_bundle
from processors.vae.device import TorchNetworks

IMAGES = np.random.default_rng(0).random((8, 1, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path) -> Bundle:
    return open_bundle(str(tiny_folder), "cpu")


def no_memory(_: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def lost(_: int) -> None:
    raise torch.AcceleratorError("CUDA error: unspecified launch failure")


def lost_as_older_torch_says(_: int) -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def room_for(images: int) -> Callable[[int], None]:
    def check(batch: int) -> None:
        if batch > images:
            no_memory(batch)

    return check


@dataclass
class Gpu:
    """The network as a GPU has it, with a device below it that fails as `fault` says."""

    networks: TorchNetworks
    fault: Callable[[int], None]
    passes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        model = self.networks._model
        for name in ("encode", "decode"):
            setattr(model, name, self._failing(getattr(model, name)))

    def _failing(self, work: Callable[[torch.Tensor], object]) -> Callable[[torch.Tensor], object]:
        def on_device(values: torch.Tensor) -> object:
            self.passes.append(len(values))
            self.fault(len(values))
            return work(values)

        return on_device


@pytest.fixture
def gpu(tiny_folder: Path, bundle: Bundle) -> Callable[[Callable[[int], None]], Gpu]:
    weights = (tiny_folder / "models" / "model.safetensors").read_bytes()
    return lambda fault: Gpu(TorchNetworks(weights, bundle.card, "cpu"), fault)


MakeGpu = Callable[[Callable[[int], None]], Gpu]


@pytest.mark.parametrize(
    ("room", "passes", "said"),
    [
        pytest.param(8, [8], [], id="all fit"),
        pytest.param(3, [8, 4, 2, 2, 4, 2, 2], [], id="halved twice"),
        pytest.param(1, [8, *[4, 2, 1, 1, 2, 1, 1] * 2], [], id="halved down to one"),
        pytest.param(
            0, [8, *[4, 2, 1, 1, 2, 1, 1] * 2], [DeviceFull] * 8, id="not even one: on the CPU"
        ),
    ],
)
def test_model_oom_gpu(
    gpu: MakeGpu, bundle: Bundle, room: int, passes: list[int], said: list[type[TryLater]]
) -> None:
    device, heard = gpu(room_for(room)), []
    bounded = Bounded(device.networks, bundle.networks, 8, heard.append)
    np.testing.assert_allclose(bounded.encode(IMAGES), bundle.networks.encode(IMAGES), atol=1e-4)
    assert device.passes == passes
    assert [type(error) for error in heard] == said
    device.fault = room_for(8)  # memory is free again: the GPU is used again
    bounded.encode(IMAGES)
    assert device.passes == [*passes, 8]


def test_model_oom_gpu_alone_is_tried_later(gpu: MakeGpu) -> None:
    heard: list[TryLater] = []
    bounded = Bounded(gpu(no_memory).networks, None, 8, heard.append)
    with pytest.raises(TryLater, match="full"):
        bounded.decode(np.zeros((2, 4, 4, 4), np.float32))
    assert [type(error) for error in heard] == [DeviceFull]


@pytest.mark.parametrize("fault", [lost, lost_as_older_torch_says])
def test_gpu_lost(gpu: MakeGpu, bundle: Bundle, fault: Callable[[int], None]) -> None:
    device, heard = gpu(fault), []
    bounded = Bounded(device.networks, bundle.networks, 8, heard.append)
    for _ in range(2):
        found = bounded.encode(IMAGES)
        np.testing.assert_array_equal(found, bundle.networks.encode(IMAGES))
    assert device.passes == [8], "a lost device is not asked again"
    assert [type(error) for error in heard] == [DeviceLost]
    assert "CUDA error" in str(heard[0])


def test_gpu_lost_with_nothing_else_allowed(gpu: MakeGpu) -> None:
    heard: list[TryLater] = []
    with pytest.raises(DeviceLost, match="unspecified launch failure"):
        Bounded(gpu(lost).networks, None, 8, heard.append).encode(IMAGES)
    assert len(heard) == 1


def test_a_mistake_of_ours_is_no_lost_device(gpu: MakeGpu) -> None:
    with pytest.raises(RuntimeError, match="channels") as caught:
        gpu(room_for(8)).networks.encode(np.zeros((1, 3, 32, 32), np.float32))
    assert not isinstance(caught.value, TryLater)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_lost_before_the_start(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda without a GPU is refused with the reason; auto goes on, and says so."""
    with pytest.raises(DeviceLost, match="CUDA"):
        open_bundle(str(tiny_folder), "cuda")
    monkeypatch.setattr("processors.runtime.cuda_is_there", lambda: True)
    heard: list[TryLater] = []
    opened = open_bundle(str(tiny_folder), "auto", on_trouble=heard.append)
    assert [type(error) for error in heard] == [DeviceLost]
    assert opened.encode(IMAGES[:, 0]).shape == (8, 4, 4, 4)


@pytest.mark.parametrize(
    ("memory", "size", "narrow", "images"),
    [
        pytest.param("2GiB", 128, 48, MOST, id="default: no more than is of use"),
        pytest.param("16MiB", 128, 48, 8, id="little"),
        pytest.param("16MiB", 512, 48, 1, id="never less than one"),
        pytest.param("64MiB", 128, 192, 10, id="a wide network"),
    ],
)
def test_how_many_images_a_pass_takes(memory: str, size: int, narrow: int, images: int) -> None:
    sizes = {"MiB": 2**20, "GiB": 2**30}
    assert largest_batch(int(memory[:-3]) * sizes[memory[-3:]], size, narrow) == images


@pytest.mark.parametrize("largest", [1, 3, 8, 100])
def test_batches_are_whole_in_order_and_equal_to_one_by_one(bundle: Bundle, largest: int) -> None:
    """Bit for bit: a study's result must not hang on workers.memory."""
    one_by_one = np.concatenate([bundle.networks.encode(one[None]) for one in IMAGES])
    found = Bounded(bundle.networks, None, largest).encode(IMAGES)
    np.testing.assert_array_equal(found, one_by_one)


PROGRAM = """
import resource, sys
import numpy as np
from processors.bounded import Bounded
from processors.runtime import OnnxNetworks, open_bundle, read_verified

images = np.random.default_rng(0).random((1024, 1, 128, 128), dtype=np.float32)
"""
RSS = """
def highest():  # not ru_maxrss, which begins at what the parent once held
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

bundle = open_bundle("chest", "cpu", memory=int(sys.argv[1]) * 2**20)
bundle.networks.decode(bundle.networks.encode(images[:1]))
before = highest()
for _ in range(2):
    bundle.networks.decode(bundle.networks.encode(images[:64]))
print((highest() - before) // 1024)
"""
FULL = """
on_cpu, sizes = OnnxNetworks(read_verified("chest")[1], 1), []

class Watched:
    def encode(self, part):
        sizes.append(len(part))
        return on_cpu.encode(part)

whole = np.concatenate([on_cpu.encode(images[n:n + 8]) for n in range(0, 1024, 8)])
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 220 * 2**20, resource.RLIM_INFINITY))
same = np.array_equal(Bounded(Watched(), None, 1024).encode(images), whole)
print(same, sizes[0], min(sizes))
"""


def _run(program: str, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.parametrize(("memory", "most"), [(16, 16), (2048, 80)])
def test_a_pass_stays_within_its_memory(memory: int, most: int) -> None:
    """MiB that the process grows by; 64 images at once would take more than twice the most."""
    outputs = 8  # latents and images themselves, held by the test
    assert int(_run(RSS, str(memory))[0]) <= most + outputs


def test_a_computer_whose_memory_is_full_halves_the_batch() -> None:
    """Really full: the process may not grow by what 1024 images at once would take."""
    same, first, least = _run(FULL)
    assert same == "True"
    assert int(first) == 1024
    assert int(least) < 1024
