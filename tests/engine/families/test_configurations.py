"""The configurations of true-size networks, read from the shapes of their tensors."""

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_lumina2 import Lumina2Transformer2DModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from engine.families import lumina2, qwen_image, sd3


@pytest.mark.parametrize(
    ("family", "kind", "config"),
    [
        (
            sd3,
            SD3Transformer2DModel,
            {
                "num_layers": 24,
                "num_attention_heads": 24,
                "caption_projection_dim": 1536,
                "pos_embed_max_size": 192,
                "dual_attention_layers": (),
                "qk_norm": None,
            },
        ),
        (
            sd3,
            SD3Transformer2DModel,
            {
                "num_layers": 24,
                "num_attention_heads": 24,
                "caption_projection_dim": 1536,
                "pos_embed_max_size": 384,
                "dual_attention_layers": tuple(range(13)),
                "qk_norm": "rms_norm",
            },
        ),
        (
            sd3,
            SD3Transformer2DModel,
            {
                "num_layers": 38,
                "num_attention_heads": 38,
                "caption_projection_dim": 2432,
                "pos_embed_max_size": 192,
                "dual_attention_layers": (),
                "qk_norm": "rms_norm",
            },
        ),
        (qwen_image, QwenImageTransformer2DModel, {}),
        (lumina2, Lumina2Transformer2DModel, {"cap_feat_dim": 2304}),
    ],
    ids=["SD3 medium", "SD3.5 medium", "SD3.5 large", "Qwen-Image", "Lumina 2"],
)
def test_the_configuration_is_that_of_the_makers(family: Any, kind: Any, config: Any) -> None:
    with torch.device("meta"):
        due = kind(**config)
        found = kind(**family.config_of(due.state_dict()))
    shapes = [
        {name: tensor.shape for name, tensor in network.state_dict().items()}
        for network in (due, found)
    ]
    assert shapes[0] == shapes[1]
    told = [name for name in due.config if name not in UNTOLD]
    for name in told:
        assert _listed(found.config[name]) == _listed(due.config[name]), name


# What has no effect on a file's network, or says the same in another way.
UNTOLD = {
    *("sample_size", "ffn_dim_multiplier", "multiple_of", "axes_lens", "out_channels"),
    "_use_default_values",
}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
