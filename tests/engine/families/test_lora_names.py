"""Names of modules in LoRA files against ComfyUI's own table, row by row."""

import json
import re
from collections import defaultdict
from typing import Any, Final

import pytest
import torch

from engine.families import chroma, flux, flux2, lumina2, qwen_image, sd3, z_image
from engine.loading.makers_names import Rows, lora_names, respelled
from tests.conftest import SHARED_FLOW
from tests.engine.families.small import names_in_loras

TABLES: Final = SHARED_FLOW / "signatures.json"
FAMILIES: Final[dict[str, tuple[str, Any]]] = {
    "flux": ("flux_dev", flux),
    "flux2": ("flux2_dev", flux2),
    "chroma": ("chroma", chroma),
    "zimage": ("zimage", z_image),
    "sd3_medium": ("sd3_medium", sd3),
    "qwen_image": ("qwen_image", qwen_image),
    "lumina2": ("lumina2", lumina2),
}
# Names in ComfyUI's table that do not fit: FLUX.1's in diffusers for modules that FLUX.2 has by
# other ones, or fused; and Z-Image's for Lumina 2, whose keys are narrower than its queries.
UNFIT: Final = {
    "flux2": re.compile(r"linear1_qkv|ff.net.0|single_transformer|time_text_embed"),
    "lumina2": re.compile(r"attention[._]to_[qkv]|all_final_layer"),
}
SWAPPED: Final = "halves of the rows swapped"

pytestmark = pytest.mark.skipif(not TABLES.exists(), reason="ComfyUI's tables are not here")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_an_entry_changes_the_row_that_it_changes_in_comfyui(family: str) -> None:
    listed = json.loads(TABLES.read_text())
    key, module = FAMILIES[family]
    shapes = listed["diffusion_models"][key]["tensors"]
    # Module → the row of the makers' tensor that each of its rows is.
    numbered = {name: torch.arange(shape[0]) for name, shape in shapes.items()}
    own = respelled(numbered, names_in_loras(module, shapes))
    modules = {name.rpartition(".")[0] for name in own}
    places: dict[str, list[tuple[str, Rows | None]]] = defaultdict(list)
    for spelling, name, rows in lora_names(modules, names_in_loras(module, modules)):
        places[spelling].append((name, rows))
    examples = {
        k: v for table in listed["lora"][family].values() for k, v in table["examples"].items()
    }
    known = {
        spelling.removeprefix("base_model.model."): meant  # as the reader of files does
        for spelling, meant in examples.items()
        if family not in UNFIT or not UNFIT[family].search(spelling)
    }
    assert len(known) > 25
    for spelling, meant in known.items():
        tensor, how = (meant, {}) if isinstance(meant, str) else meant
        due = torch.arange(shapes[tensor][0])
        if how == SWAPPED:
            due = due.roll(len(due) // 2)
        elif how:
            due = due[how["start"] : how["start"] + how["length"]]
        entry, pairs = torch.arange(len(due)), set()
        for name, rows in places[spelling]:
            taken = entry if rows is None else rows.of(entry)
            pairs |= set(zip(taken.tolist(), own[f"{name}.weight"].tolist(), strict=True))
        assert pairs == set(enumerate(due.tolist())), spelling


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
