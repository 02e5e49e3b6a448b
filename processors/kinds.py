"""Which kinds of models there are, and what makes a processor of each.

In: what a site says of one processor (`Wanted`). Out: a ready Processor, or a BundleError that says
what is wrong. A kind's own libraries are loaded only when it is asked for. Never: settings, a
socket; how an HTTP endpoint is reached is handed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from processors.analysis import Algorithm, BundleError, Processor, ProcessorError
from processors.bounded import Trouble
from processors.runtime import (
    LARGEST_FOREIGN,
    MEMORY,
    STATE_DICTS,
    cuda_is_there,
    open_bundle,
    read_verified,
    weights_digest,
)
from processors.summarised import Named, Summarised

if TYPE_CHECKING:
    from processors.adapters.http_endpoint import Post

EXTRA = "pip install 'dictamen[adapters]'"


class ExtraMissing(BundleError):
    """A kind of model needs packages that are not installed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One processor. bundle: a shipped name or a path. memory, on_trouble: of a vae_bundle, see
    `open_bundle`; post, pixels: of an http_endpoint alone. patient_summary: see `summarised`."""

    name: str
    bundle: str
    language: str = "en"
    device: str = "auto"
    memory: int = MEMORY
    on_trouble: Trouble = lambda _: None
    explain: tuple[str, ...] = ("traversal",)
    post: Post | None = None
    pixels: Literal["png", "npy"] = "png"
    patient_summary: bool = False


def _vae(wanted: Wanted) -> Named:
    from processors.vae.processor import VaeBundleProcessor

    bundle = open_bundle(
        wanted.bundle, wanted.device, memory=wanted.memory, on_trouble=wanted.on_trouble
    )
    return VaeBundleProcessor(wanted.name, bundle, wanted.language, explain=wanted.explain)


def _monai(wanted: Wanted) -> Named:
    from processors.adapters.monai_bundle import open_monai_bundle

    return open_monai_bundle(wanted.name, wanted.bundle, wanted.language, _torch_device(wanted))


def _xray(wanted: Wanted) -> Named:
    from processors.adapters.torchxrayvision import open_torchxrayvision

    return open_torchxrayvision(wanted.name, wanted.bundle, wanted.language, _torch_device(wanted))


def _http(wanted: Wanted) -> Named:
    from processors.adapters.http_endpoint import open_http_endpoint

    if wanted.post is None:
        raise BundleError("An http_endpoint needs the address of its endpoint.")
    return open_http_endpoint(
        wanted.name, wanted.bundle, wanted.language, wanted.post, wanted.pixels
    )


def _torch_device(wanted: Wanted) -> str:
    on_cuda = wanted.device == "cuda" or (wanted.device == "auto" and cuda_is_there())
    return "cuda" if on_cuda else "cpu"


BUILDERS: Mapping[str, Callable[[Wanted], Named]] = {
    "vae_bundle": _vae,
    "monai_bundle": _monai,
    "torchxrayvision": _xray,
    "http_endpoint": _http,
}


def build(kind: str, wanted: Wanted) -> Processor:
    """A ready processor. Raises BundleError (ExtraMissing without the packages of its kind)."""
    try:
        processor = BUILDERS[kind](wanted)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ExtraMissing(
            f"A model of kind {kind} needs the package {package}.", then=EXTRA
        ) from error
    except ProcessorError:
        raise
    except Exception as error:  # whatever a file of somebody else's makes of who reads it
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        raise BundleError(f"Bundle {wanted.bundle} cannot be opened: {said}.") from error
    return Summarised(processor, wanted.language) if wanted.patient_summary else processor


def algorithm(kind: str, bundle: str) -> Algorithm:
    """What a bundle's results name, its files verified; loads no network. Raises BundleError.

    Of an http_endpoint it is what the card says: version and weights are the endpoint's own.
    """
    if kind in ("monai_bundle", "torchxrayvision"):
        folder, files = read_verified(bundle, weights_only=STATE_DICTS, largest=LARGEST_FOREIGN)
    else:
        folder, files = read_verified(bundle)
    try:
        metadata = json.loads(files["configs/metadata.json"])
        name, version = str(metadata.get("name") or folder.name), str(metadata["version"])
    except (KeyError, ValueError, AttributeError, RecursionError) as error:
        raise BundleError(f"configs/metadata.json of {folder.name} names no version.") from error
    return Algorithm(name, version, "" if kind == "http_endpoint" else weights_digest(files))
