"""A process that looks at devices (`engine.check.device`) of which some hang and some crash it.

python -m tests.fakes.devices
"""

import os
import signal
import sys
from dataclasses import asdict

from engine.check.device_trial import Device
from engine.executors import wire
from engine.executors.helper import answer_all, output_for_answers
from engine.models.memory_plan import Room

GOOD = Device(name="a GPU", torch="2.9", memory=2**34, room=Room(budget=2**33, value_bytes=2))


def answer(question: wire.Frame) -> wire.Frame:
    """Answer as the name of a device says."""
    name = question.header["device"]
    if name == "hangs":
        signal.pause()
    if name == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    return wire.Frame({**asdict(GOOD), "warnings": []})


if __name__ == "__main__":
    with output_for_answers() as output:
        answer_all(answer, sys.stdin.buffer, output)
