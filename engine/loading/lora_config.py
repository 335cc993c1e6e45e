"""Read the scales (alpha) of a LoRA of peft's from its configuration.

diffusers writes it into the file's metadata, part by part ("unet.lora_alpha"); peft itself writes
`adapter_config.json` beside the file. A layer's scale is alpha/rank, or alpha/√rank with
`use_rslora` (Kalajdzievski (2023), arXiv:2312.03732); `alpha_pattern` names layers with an alpha
of their own. Ranks are read from the tensors' shapes. Standard library only.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.files.safetensors import BadFile, Header, quoted

KEY: Final = "lora_adapter_metadata"
BESIDE: Final = "adapter_config.json"
LARGEST: Final = 2**20  # bytes of such a file
PARTS: Final = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """Alphas, layers' own alphas and the kind of scale; by part, "" for all of them."""

    alphas: Mapping[str, float] = field(default_factory=dict)
    patterns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    roots: Mapping[str, bool] = field(default_factory=dict)

    def alpha(self, name: str) -> float | None:
        """Return the alpha of a layer as a file spells it, None where nothing is said."""
        part, layer = _split(name)
        for pattern, alpha in self.patterns.get(part, self.patterns.get("", {})).items():
            exact, plain = pattern.startswith("^"), pattern.removeprefix("^")
            if layer == plain or (not exact and layer.endswith(f".{plain}")):
                return alpha
        return self.alphas.get(part, self.alphas.get(""))

    def by_root(self, name: str) -> bool:
        """Return whether a layer's scale is alpha/√rank."""
        part, _ = _split(name)
        return self.roots.get(part, self.roots.get("", False))


def read_config(path: Path, header: Header) -> PeftConfig:
    """Return the configuration of a file's scales; raises `BadFile` if it cannot be read."""
    beside = path.with_name(BESIDE)
    if KEY in header.metadata:
        return _parse(header.metadata[KEY], f"its metadata {KEY!r}")
    if path.stem == "adapter_model" and beside.is_file():
        try:
            with beside.open("rb") as file:
                text = file.read(LARGEST)
        except OSError as error:
            raise BadFile(f"{BESIDE} beside it cannot be read ({error.strerror})") from None
        return _parse(text, f"{BESIDE} beside it")
    return PeftConfig()


def _parse(text: str | bytes, where: str) -> PeftConfig:
    try:
        known: dict[Any, Any] = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise BadFile(f"{where} cannot be read") from None
    alphas, patterns, roots = {}, {}, {}
    for key, value in known.items():
        part, _, option = str(key).rpartition(".")
        what = f"{where}: {key}"
        if option == "lora_alpha" and value is not None:
            alphas[part] = _number(value, what)
        elif option == "alpha_pattern" and value:
            patterns[part] = _pattern(value, what)
        elif option == "use_rslora":
            if not isinstance(value, bool):
                raise BadFile(f"{what} is neither true nor false")
            roots[part] = value
    return PeftConfig(alphas, patterns, roots)


def _pattern(value: Any, what: str) -> dict[str, float]:
    """Read layers' own alphas; peft takes their names for the ends of regular expressions.

    A stranger's expression is not run: names, with an anchor or escaped dots, are all that is read.
    """
    if not isinstance(value, dict):
        raise BadFile(f"{what} names no layers")
    found = {}
    for name, alpha in value.items():
        plain = str(name).removesuffix("$").replace("\\.", ".")
        if set(plain.removeprefix("^")) & set("\\*+?[](){}|^$"):
            raise BadFile(
                f"{what} holds the expression {quoted(name)}, where Marble reads plain names"
            )
        found[plain] = _number(alpha, what)
    return found


def _number(value: Any, what: str) -> float:
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        number = math.inf
    if isinstance(value, bool) or not math.isfinite(number):
        raise BadFile(f"{what} is not a number")
    return number


def _split(name: str) -> tuple[str, str]:
    part, _, layer = name.partition(".")
    return (part, layer) if part in PARTS else ("", name)
