"""Old and other spellings of tensors' names in single files, brought to those of today.

    respelled({"state_dict.first_stage_model.decoder.mid.attn_1.query.weight": tensor})
    # {"first_stage_model.decoder.mid.attn_1.q.weight": tensor}

ComfyUI reads most of them; each stands in a table. Standard library only.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

T = TypeVar("T")

# A part that a name must have (a file has thousands of names), what is found in it → what stands
# there today; all that fit, in order.
RULES: Final = tuple(
    (part, re.compile(found), today)
    for part, found, today in (
        # What a model was wrapped in when it was saved: by Lightning, in parallel, compiled.
        ("state_dict.", r"^(?:state_dict\.|module\.)+", ""),
        ("module.", r"^(?:state_dict\.|module\.)+", ""),
        ("_orig_mod.", r"\b_orig_mod\.", ""),
        # The averaged copy of a U-Net, where it is the only one.
        ("model_ema.", r"^model_ema\.diffusion_model\.", "model.diffusion_model."),
        # CLIP before transformers 4.6 had no inner model (NovelAI's first, and its merges).
        (
            ".transformer.",
            r"^(cond_stage_model|conditioner\.embedders\.0)\.transformer\."
            r"(?=embeddings\.|encoder\.|final_layer_norm\.)",
            r"\1.transformer.text_model.",
        ),
        # SD2's text encoder where Stability's later code (generative-models) puts it.
        ("embedders.0.model.", r"^conditioner\.embedders\.0\.model\.", "cond_stage_model.model."),
        # Attention of VAEs, as older versions of diffusers name it, and files half converted.
        ("mid.attn_1.", r"\b(mid\.attn_1)\.(?:query|to_q)\.", r"\1.q."),
        ("mid.attn_1.", r"\b(mid\.attn_1)\.(?:key|to_k)\.", r"\1.k."),
        ("mid.attn_1.", r"\b(mid\.attn_1)\.(?:value|to_v)\.", r"\1.v."),
        ("mid.attn_1.", r"\b(mid\.attn_1)\.(?:proj_attn|to_out\.0)\.", r"\1.proj_out."),
        ("0.query.", r"\b(mid_block\.attentions\.0)\.query\.", r"\1.to_q."),
        ("0.key.", r"\b(mid_block\.attentions\.0)\.key\.", r"\1.to_k."),
        ("0.value.", r"\b(mid_block\.attentions\.0)\.value\.", r"\1.to_v."),
        ("0.proj_attn.", r"\b(mid_block\.attentions\.0)\.proj_attn\.", r"\1.to_out.0."),
    )
)


def respelled(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return tensors, or facts about them, by their names as they are spelled today.

    A name that is there already is not given twice.
    """
    taken, found = set(tensors), dict[str, T]()
    for name, tensor in tensors.items():
        today = name
        for part, rule, place in RULES:
            if part in today:
                today = rule.sub(place, today)
        found[name if today in taken else today] = tensor
        taken.add(today)
    return found
