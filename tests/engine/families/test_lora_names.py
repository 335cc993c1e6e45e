"""Names of modules in LoRA files against ComfyUI's own table, row by row."""

import json
import re
from collections import defaultdict
from typing import Any, Final

import pytest
import torch

from engine.families import chroma, flux, flux2
from engine.loading.makers_names import Rows, lora_names, respelled
from tests.conftest import SHARED_FLOW

TABLES: Final = SHARED_FLOW / "signatures.json"
FAMILIES: Final[dict[str, tuple[str, Any]]] = {
    "flux": ("flux_dev", flux),
    "flux2": ("flux2_dev", flux2),
    "chroma": ("chroma", chroma),
}
# FLUX.1's names in diffusers for modules that FLUX.2 has by other ones, or fused, there.
NONE_OF_FLUX2: Final = re.compile(r"linear1_qkv|ff.net.0|single_transformer|time_text_embed")

pytestmark = pytest.mark.skipif(not TABLES.exists(), reason="ComfyUI's tables are not here")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_an_entry_changes_the_row_that_it_changes_in_comfyui(family: str) -> None:
    listed = json.loads(TABLES.read_text())
    key, module = FAMILIES[family]
    shapes = listed["diffusion_models"][key]["tensors"]
    # Module → the row of the makers' tensor that each of its rows is.
    own = respelled({name: torch.arange(shape[0]) for name, shape in shapes.items()}, module.NAMES)
    modules = {name.rpartition(".")[0] for name in own}
    places: dict[str, list[tuple[str, Rows | None]]] = defaultdict(list)
    for spelling, name, rows in lora_names(modules, module.LORA_NAMES):
        places[spelling].append((name, rows))
    examples = {
        k: v for table in listed["lora"][family].values() for k, v in table["examples"].items()
    }
    known = {
        spelling: meant
        for spelling, meant in examples.items()
        if family != "flux2" or not NONE_OF_FLUX2.search(spelling)
    }
    assert len(known) > 50
    for spelling, meant in known.items():
        start, length = 0, shapes[meant][0] if isinstance(meant, str) else 0
        if not isinstance(meant, str):
            start, length = meant[1]["start"], meant[1]["length"]
        entry, pairs = torch.arange(length), set()
        for name, rows in places[spelling]:
            taken = entry if rows is None else rows.of(entry)
            pairs |= set(zip(taken.tolist(), own[f"{name}.weight"].tolist(), strict=True))
        assert pairs == {(row, start + row) for row in range(length)}, spelling


def test_names_of_xlabs_are_those_of_attention() -> None:
    for name, modules in {
        "double_blocks.7.processor.qkv_lora2": {f"attn.add_{x}_proj" for x in "qkv"},
        "double_blocks.7.processor.proj_lora1": {"attn.to_out.0"},
    }.items():
        wanted = {f"transformer_blocks.7.{module}" for module in modules}
        found = {
            own for spelling, own, _ in lora_names(wanted, flux.LORA_NAMES) if spelling == name
        }
        assert found == wanted
