"""What torch says of a device that is full or gone, in words of `processors.bounded`.

Imported only where torch is loaded anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from processors.bounded import DeviceFull, DeviceLost

FULL = "can't allocate memory"  # what torch's allocator of the CPU says


@contextmanager
def told(device: torch.device) -> Iterator[None]:
    """Raises DeviceFull, DeviceLost; every other error as it is.

    torch names its errors of CUDA AcceleratorError since 2.8, and only RuntimeError before.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _full(device) from error
    except (RuntimeError, AssertionError) as error:
        if FULL in str(error):
            raise _full(device) from error
        if "CUDA" not in str(error):
            raise
        first = str(error).splitlines()[0].rstrip(".")
        raise DeviceLost(f"{device} was lost: {first}.", then="Look at the driver.") from error


def _full(device: torch.device) -> DeviceFull:
    return DeviceFull(f"The memory of {device} is full.", then="It is tried again later.")
