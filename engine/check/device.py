"""The process that looks at devices for `engine.check.device_trial`.

python -m engine.check.device

It reads frames from its input: `{"device": "cuda:0"}`, which it answers with the fields of `Device`
or with `{"fault": "…"}`, and `{}`, which it answers with `{"beside": […]}`, the devices beside the
first one. Where torch cannot be imported it answers with `{"no_torch": "…"}`. What torch warned of
meanwhile is `warnings` in each.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from typing import Any

from engine.check.device_trial import Device
from engine.errors import DeviceFault, first_line
from engine.executors import wire
from engine.executors.helper import answer_all, output_for_answers


def look(wanted: str) -> Device:
    """Describe the device of that name (`MARBLE_DEVICE`) after a try; raises `DeviceFault`."""
    import torch

    from engine.device.backends import memory, name, try_device
    from engine.pipeline.residency import room

    device = try_device(wanted)
    return Device(
        name=name(device), torch=torch.__version__, memory=memory(device), room=room(device)
    )


def beside() -> list[str]:
    """Return the devices beside the first one that `auto` means."""
    from engine.device.backends import devices_beside  # with torch

    try:
        return [*devices_beside()]
    except RuntimeError:  # `look` says why
        return []


def answer(question: wire.Frame) -> wire.Frame:
    """Answer one frame."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        header = _found(question.header.get("device"))
    said = (first_line(each.message) for each in caught if isinstance(each.message, UserWarning))
    return wire.Frame({**header, "warnings": list(said)})


def _found(name: str | None) -> dict[str, Any]:
    try:
        return asdict(look(name)) if name else {"beside": beside()}
    except DeviceFault as error:
        return {"fault": str(error)}
    except (ImportError, OSError) as error:  # the latter where one of torch's libraries is missing
        return {"no_torch": first_line(error)}


if __name__ == "__main__":
    with output_for_answers() as output:
        answer_all(answer, sys.stdin.buffer, output)
