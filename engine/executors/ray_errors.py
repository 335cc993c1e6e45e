"""What is said of Ray's errors: why there is no connection, and how an actor ended."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import first_line

HERE: Final = ("local", "auto")  # addresses that mean this machine
CURE: Final = "start it with `ray start --head`, or correct MARBLE_RAY_ADDRESS"
MACHINE_LOST: Final = re.compile(
    r"node (has )?died|node was|its node|NodeDied|doesn't exist any more"
)


def ray_at(address: str) -> str:
    """Return what a sentence calls the cluster at an address (`MARBLE_RAY_ADDRESS`)."""
    return "Ray" if address in HERE else f"Ray at {address}"


def why_not(error: Exception, address: str, printed: str = "") -> str:
    """Return a sentence on why there is no connection to Ray, and what helps."""
    text, where = str(error), ray_at(address)
    if "InvalidAuthToken" in printed or "Unauthenticated" in printed:
        text = "token"
    if isinstance(error, ImportError):
        if "grpc" in text:
            return "ray:// needs grpcio: `pip install 'ray[client]'`"
        return f"Ray cannot be imported ({first_line(error)}): `pip install 'marble[ray]'`"
    if "ersion mismatch" in text or "versions" in text:
        found = re.findall(r"(Ray|Python): ([\w.]+)", text)
        theirs, ours = (" and ".join(" ".join(one) for one in pair) for pair in _halves(found))
        what = f"runs {theirs}, this machine {ours}" if found else "runs another version"
        return f"{where} {what}: install the same versions on all machines"
    if "uthenticat" in text or "token" in text.lower():
        return (
            f"{where} refuses this machine's token: copy the cluster's into ~/.ray/auth_token, "
            "and set RAY_AUTH_MODE=token"
        )
    if "no node" in text.lower() or "Could not find any running Ray instance" in text:
        return (
            "no Ray runs on this machine: start one with `ray start --head`, or make the machine a "
            "part of a cluster with `ray start --address=HEAD:6379 --num-gpus=0`"
        )
    if "Initialization failure" in text:  # of the head's server for this client, a traceback
        last = text.strip().splitlines()[-1].removeprefix("RuntimeError: ").rstrip(".")
        return f"{where} could not start a server for this machine ({last}): try again"
    if "client connection timeout" in text:  # Ray's client does not say what it waited for
        return (
            f"{where} is reached and does not let this machine in: copy the cluster's token into "
            "~/.ray/auth_token and set RAY_AUTH_MODE=token, or correct the port in "
            "MARBLE_RAY_ADDRESS (10001, unless the head was started with another one)"
        )
    if isinstance(error, OSError):
        return no_answer(address, first_line(error))
    if "this machine" in text or "node" in text.lower():
        return (
            f"this machine is no part of {where}: `ray start --address={address} --num-gpus=0` "
            "here, or an address that begins with ray://"
        )
    return no_answer(address, first_line(error))


def no_answer(address: str, why: str = "") -> str:
    """Return a sentence on an address where no Ray is."""
    where = "on this machine" if address in HERE else f"at {address}"
    return f"nothing that is Ray answers {where}{why and f' ({why})'}: {CURE}"


def _halves(found: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    middle = len(found) // 2
    return found[:middle], found[middle:]


def is_outside(error: Exception) -> bool:
    """Whether an actor ended, or did not start, for a cause outside of the engine."""
    from ray.exceptions import (
        ActorUnavailableError,
        ActorUnschedulableError,
        NodeDiedError,
        RuntimeEnvSetupError,
    )

    outside = (
        ActorUnavailableError,
        ActorUnschedulableError,
        NodeDiedError,
        RuntimeEnvSetupError,
        ConnectionError,
    )
    text = str(error)
    return (
        isinstance(error, outside) or "No module named" in text or bool(MACHINE_LOST.search(text))
    )


def how_it_ended(error: Exception) -> str:
    """Return how an actor ended, as the rest of a sentence."""
    text = str(error)
    if missing := re.search(r"No module named '([\w.]+)'", text):
        return (
            f"Marble cannot be imported there (no module {missing[1]}): install the same Marble "
            "on that machine, in the environment that runs Ray"
        )
    if MACHINE_LOST.search(text):
        return "its machine left the cluster"
    if found := re.search(r"exit code (\d+)", text):
        return f"exit code {found[1]}"
    if "unexpectedly" in text or "SYSTEM_ERROR" in text:
        return "its process died"
    return first_line(error)
