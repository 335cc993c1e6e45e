"""Which tensors a flow model's network must have, told from its file's header.

    check_network(BY_KEY["z"], network_tensors(read_header(path)))    # or `BadFile`

Blocks are held to each other, all else to a table. Names are those of the makers' files and of
diffusers. Standard library only.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from engine.files.safetensors import BadFile
from engine.models.families import Family

BLOCK: Final = re.compile(r"(.*?(?:blocks|layers|norms|refiner))\.(\d+)\.(.+)")
# How names end: scales are norms', and those of fp8 end otherwise; the last two are Krea 2's.
LEAVES: Final = ("weight", "bias", "scale", "lin", "scale_shift_table")
# Of Stable Diffusion 3's blocks the first ones have a second attention, and the last one changes
# no text.
UNEVEN: Final[Mapping[str, re.Pattern[str]]] = {
    "sd3": re.compile(r".*attn2\.|context_block\.(?:attn\.proj|mlp)\.|ff_context\.|.*to_add_out\."),
}

# A tensor's names by its makers and by diffusers.
Names = tuple[tuple[str, ...], ...]


def _linear(*names: tuple[str, ...] | str, bias: bool = True) -> Names:
    """Return the tensors of linear layers, by one name for both or by two."""
    leaves = ("weight", "bias") if bias else ("weight",)
    spelled = ((name,) if isinstance(name, str) else name for name in names)
    return tuple(tuple(f"{each}.{leaf}" for each in name) for name in spelled for leaf in leaves)


def _embedder(theirs: str, own: str) -> tuple[tuple[str, str], ...]:
    """Return the two layers of an embedding of a number or a vector."""
    first, second = ("in_layer", "out_layer") if theirs.endswith("_in") else ("mlp.0", "mlp.2")
    return (f"{theirs}.{first}", f"{own}.linear_1"), (f"{theirs}.{second}", f"{own}.linear_2")


_TIMES: Final = "time_text_embed"
_TEXT: Final = ("txt_in", "context_embedder")
_OUT: Final = (
    ("final_layer.linear", "proj_out"),
    ("final_layer.adaLN_modulation.1", "norm_out.linear"),
)
# What there must be outside of blocks, by family.
WHOLE: Final[Mapping[str, Names]] = {
    "z": (
        ("x_pad_token",),
        ("cap_pad_token",),
        *_linear("cap_embedder.0", bias=False),
        *_linear(
            *("cap_embedder.1", "t_embedder.mlp.0", "t_embedder.mlp.2"),
            ("x_embedder", "all_x_embedder.2-1"),
            *(
                (f"final_layer.{layer}", f"all_final_layer.2-1.{layer}")
                for layer in ("linear", "adaLN_modulation.1")
            ),
        ),
    ),
    "flux": _linear(
        ("img_in", "x_embedder"),
        _TEXT,
        *_embedder("time_in", f"{_TIMES}.timestep_embedder"),
        *_embedder("vector_in", f"{_TIMES}.text_embedder"),
        *_OUT,
    ),
    "flux2": _linear(
        ("img_in", "x_embedder"),
        _TEXT,
        *_embedder("time_in", "time_guidance_embed.timestep_embedder"),
        *(
            (f"{name}.lin", f"{name}.linear")
            for name in (
                "double_stream_modulation_img",
                "double_stream_modulation_txt",
                "single_stream_modulation",
            )
        ),
        *_OUT,
        bias=False,
    ),
    "chroma": _linear(
        ("img_in", "x_embedder"),
        _TEXT,
        *("distilled_guidance_layer.in_proj", "distilled_guidance_layer.out_proj"),
        _OUT[0],
    ),
    "sd3": (
        ("pos_embed", "pos_embed.pos_embed"),
        *_linear(
            ("x_embedder.proj", "pos_embed.proj"),
            "context_embedder",
            *_embedder("t_embedder", f"{_TIMES}.timestep_embedder"),
            *_embedder("y_embedder", f"{_TIMES}.text_embedder"),
            *_OUT,
        ),
    ),
    "qwen": (
        *_linear("txt_norm", bias=False),
        *_linear(
            *("img_in", "txt_in", "norm_out.linear", "proj_out"),
            *(f"{_TIMES}.timestep_embedder.linear_{number}" for number in (1, 2)),
        ),
    ),
    "lumina2": (
        *_linear(("cap_embedder.0", "time_caption_embed.caption_embedder.0"), bias=False),
        *_linear(
            "x_embedder",
            ("cap_embedder.1", "time_caption_embed.caption_embedder.1"),
            *_embedder("t_embedder", "time_caption_embed.timestep_embedder"),
            ("final_layer.linear", "norm_out.linear_2"),
            ("final_layer.adaLN_modulation.1", "norm_out.linear_1"),
        ),
    ),
    "krea2": (
        *_linear(("txtfusion.projector", "text_fusion.projector"), bias=False),
        *_linear(
            ("first", "img_in"),
            ("tmlp.0", "time_embed.linear_1"),
            ("tmlp.2", "time_embed.linear_2"),
            ("tproj.1", "time_mod_proj"),
            ("txtmlp.1", "txt_in.linear_1"),
            ("txtmlp.3", "txt_in.linear_2"),
            ("last.linear", "final_layer.linear"),
        ),
        ("txtmlp.0.scale", "txtmlp.0.weight", "txt_in.norm.weight"),
        ("last.norm.scale", "last.norm.weight", "final_layer.norm.weight"),
        ("last.modulation.lin", "final_layer.scale_shift_table"),
    ),
    "anima": (  # by its makers' names, as its adapter is in their files alone
        *_linear(
            *("x_embedder.proj.1", "t_embedding_norm", "final_layer.linear"),
            *(f"t_embedder.1.linear_{layer}" for layer in (1, 2)),
            *(f"final_layer.adaln_modulation.{layer}" for layer in (1, 2)),
            *("llm_adapter.embed", "llm_adapter.norm"),
            bias=False,
        ),
        *_linear("llm_adapter.out_proj"),
    ),
}

# Of these there are all or none: of networks that are told the guidance scale.
GUIDANCE: Final[Mapping[str, Names]] = {
    "flux": _linear(*_embedder("guidance_in", f"{_TIMES}.guidance_embedder")),
    "flux2": _linear(
        *_embedder("guidance_in", "time_guidance_embed.guidance_embedder"), bias=False
    ),
}


def check_network(family: Family, names: Collection[str]) -> None:
    """Raise `BadFile` for the first tensor that a network lacks.

    names: of its tensors. Families without a table are held to their blocks alone.
    """
    needed, guidance = WHOLE.get(family.key, ()), GUIDANCE.get(family.key, ())
    if any(name in names for alternatives in guidance for name in alternatives):
        needed = (*needed, *guidance)
    for alternatives in needed:
        if not any(name in names for name in alternatives):
            raise BadFile(f"it lacks the tensor {_in_its_spelling(alternatives, names)!r}")
    if lacking := next(_lacking(names, UNEVEN.get(family.key)), None):
        raise BadFile(f"it lacks the tensor {lacking!r}")


def _in_its_spelling(alternatives: tuple[str, ...], names: Collection[str]) -> str:
    """Return a tensor's name as its file would spell it: as its makers, if it has such names."""
    theirs = ("final_layer.adaLN_modulation.", "double_blocks.", "joint_blocks.", "txtfusion.")
    makers = any(name.startswith(theirs) for name in names)
    return alternatives[0 if makers else -1]


def _lacking(names: Collection[str], uneven: re.Pattern[str] | None) -> Iterator[str]:
    """Yield the tensors that most blocks of a kind have, and one of them lacks."""
    kinds: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        found = BLOCK.fullmatch(name)
        if found and name.rpartition(".")[2] in LEAVES:
            kinds[found[1]][int(found[2])].add(found[3])
    for kind, blocks in kinds.items():
        counts = Counter(name for block in blocks.values() for name in block)
        common = sorted(name for name, count in counts.items() if 2 * count >= len(blocks))
        for number in range(len(blocks)):  # the first of those that are missing is below
            for name in common:
                if name not in blocks[number] and not (uneven and uneven.match(name)):
                    yield f"{kind}.{number}.{name}"
