"""Makes the model of a node's workers break as real ones do, for studies whose patient says so.

Python runs this at the start of each process of a node that has this folder on PYTHONPATH. Only the
worker is changed, and of it only what `analyse` does with a patient TEST-CRASH..., TEST-HANG... or
TEST-LOCK..., and what is said of TEST-RAMBLE...; with BROKEN_GPU it also takes its model for one on
a GPU, which is lost while the file of that name exists. Everything else is the product's.
"""

import ctypes
import os
import sys
from datetime import timedelta
from pathlib import Path


def crash() -> None:
    """A segmentation fault in native code."""
    ctypes.string_at(0)


def hang() -> None:
    """A native call that never returns, as inference does: other threads go on."""
    while True:
        ctypes.CDLL(None).pause()


def lock() -> None:
    """A native call that never returns and keeps the interpreter's lock: no thread goes on."""
    while True:
        ctypes.PyDLL(None).pause()


def break_the_model() -> None:
    from processors.analysis import Analysis, Impression, Sentence, Study
    from processors.vae import processor
    from processors.vae.processor import VaeBundleProcessor

    def rambling(*_: object) -> Impression:
        text = (
            "An opacity, an opacity on the left, an opacity on the left, on the left, on the left."
        )
        return Impression("en", (Sentence(text, (), "generated"),))

    whole, by_rule = VaeBundleProcessor.analyse, processor.impression

    def analyse(self: VaeBundleProcessor, study: Study) -> Analysis:
        patient = str(study.instances[0].header.PatientID)
        for fault in (crash, hang, lock):
            if patient.startswith(f"TEST-{fault.__name__.upper()}"):
                fault()
        rambles = patient.startswith("TEST-RAMBLE")
        processor.impression = rambling if rambles else by_rule  # type: ignore[assignment]
        return whole(self, study)

    VaeBundleProcessor.analyse = analyse  # type: ignore[method-assign]


def lose_the_gpu(while_there: Path) -> None:
    """Torch's networks, on the CPU, with the error of a lost device in the midst of a pass."""
    import torch

    from dicom_node import pipeline
    from processors import runtime
    from processors.vae.device import TorchNetworks

    def on_gpu(files: dict[str, bytes], card: dict[str, object]) -> TorchNetworks:
        made = TorchNetworks(files["models/model.safetensors"], card, "cpu")
        whole = made._model.encode

        def encode(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if while_there.exists():
                raise torch.AcceleratorError("CUDA error: unspecified launch failure")
            return whole(images)

        made._model.encode = encode  # type: ignore[method-assign]
        return made

    runtime.cuda_is_there = lambda: True
    runtime._cuda_networks = on_gpu
    pipeline.WAIT = timedelta(seconds=2)


if sys.orig_argv[-3:] == ["-m", "dicom_node.child", "worker"]:
    break_the_model()
    if "BROKEN_GPU" in os.environ:
        lose_the_gpu(Path(os.environ["BROKEN_GPU"]))
