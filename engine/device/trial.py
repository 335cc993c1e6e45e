"""Try devices in a process of its own, for one that does not import torch.

python -m engine.device.trial DEVICE…    prints a line for each that cannot be used
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from engine.device.backends import try_device
from engine.errors import DeviceFault


def main(names: Iterable[str]) -> None:
    """Print what is wrong with devices."""
    for name in names:
        try:
            try_device(name)
        except DeviceFault as error:
            sys.stdout.write(f"{name}: {error}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
