"""Kinds of nodes that are known for what they do, which no recipe can say."""

from collections.abc import Mapping
from typing import Final

from engine.sentences import Sentence

UNDRAWN: Final[Mapping[str, Sentence]] = {
    "GLIGENTextBoxApply": Sentence("graph_does_areas"),
    "ConditioningAverage": Sentence("graph_does_weigh"),
    **dict.fromkeys(
        ("LatentComposite", "LatentCompositeMasked", "LatentBlend"), Sentence("graph_does_layers")
    ),
    **dict.fromkeys(
        (
            *("CLIPVisionEncode", "unCLIPConditioning", "StyleModelApply"),
            *("IPAdapter", "IPAdapterAdvanced", "IPAdapterApply"),
        ),
        Sentence("graph_does_vision"),
    ),
    **dict.fromkeys(
        ("ModelMergeSimple", "ModelMergeBlocks", "CLIPMergeSimple"), Sentence("graph_does_merge")
    ),
}
