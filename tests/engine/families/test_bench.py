"""The measuring of flow models on a GPU, with small networks on the processor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from engine.device.stored_weights import StoredWeight
from tests.bench import gpu_flow
from tests.bench.gpu_flow import SHAPES, Shape, bench_flow, make_network

CPU: Final = torch.device("cpu")
Z_IMAGE, FLUX = SHAPES
SMALL: Final = (
    replace(
        Z_IMAGE,
        config={
            **Z_IMAGE.config,
            "dim": 32, "n_layers": 1, "n_refiner_layers": 1, "n_heads": 1, "n_kv_heads": 1,
            "cap_feat_dim": 32, "axes_dims": [8, 12, 12],
        },
        width=32,
    ),
    replace(
        FLUX,
        config={
            **FLUX.config,
            "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 32,
            "num_attention_heads": 2, "joint_attention_dim": 32, "pooled_projection_dim": 16,
            "axes_dims_rope": (4, 14, 14),
        },
        width=32,
        tokens={"distilled": (8,)},
    ),
)  # fmt: skip


def table(capsys: pytest.CaptureFixture[str], shape: Shape) -> list[str]:
    """Return the lines that are printed for a network in pictures of 32², up to 4 rows."""
    bench_flow(CPU, [shape], [32], most=4)
    return capsys.readouterr().out.splitlines()


def test_each_network_is_called_in_each_form_and_number_of_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [line for shape in SMALL for line in table(capsys, shape)]
    calls = [line for line in lines if " ms" in line]
    z_image = [
        *(f"32² distilled, {rows} rows" for rows in (1, 2, 4)),
        *(f"32² CFG, {rows} rows" for rows in (2, 4)),
    ]
    by_groups = "32² by groups"
    assert [line[:44].strip() for line in calls] == [
        *(f"Z-Image {form} {what}" for form in ("bf16", "fp8") for what in (*z_image, by_groups)),
        *(f"FLUX.1 fp8 {what}" for what in (*z_image[:3], by_groups)),
    ]
    assert all(line.endswith("same bits") for line in calls)
    rest = [line for line in lines if line not in calls]
    assert len(rest) == 5
    assert all(": exact " in line and ", throughput " in line for line in rest)


def test_true_networks_have_their_billions_of_weights() -> None:
    for shape, billions in ((Z_IMAGE, 6.2), (FLUX, 11.9)):
        with torch.device("meta"):
            network = shape.network(**shape.config)
        count = sum(each.numel() for each in network.parameters())
        assert count / 1e9 == pytest.approx(billions, abs=0.06)


@torch.inference_mode()
def test_matrices_lie_in_fp8() -> None:
    for shape in SMALL:
        network = make_network(shape, "fp8", CPU)
        linear = [each for each in network.modules() if isinstance(each, torch.nn.Linear)]
        assert linear
        for layer in linear:
            assert isinstance(layer.weight, StoredWeight)
            assert layer.weight.stored.dtype is torch.float8_e4m3fn


def test_rows_that_change_each_other_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    def mixed(network: Any, x: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> Tensor:
        return x + x.mean(0)

    bits = [line.split()[-1] for line in table(capsys, replace(SMALL[1], predict=mixed))]
    assert bits == ["bits", *["DIFFERS"] * 2, "rows", "bits"]


def test_what_does_not_fit_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def full(network: Any, x: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> Tensor:
        if len(x) > 2:
            raise MemoryError
        return x

    def too_large(tensors: Any, target: Any) -> Any:
        raise torch.OutOfMemoryError

    lines = table(capsys, replace(SMALL[1], predict=full))
    assert len(lines) == 5
    assert lines[2].split() == ["FLUX.1", "fp8", "32²", "distilled,", "4", "rows", "does", "not",
                                "fit"]  # fmt: skip
    assert ": exact " in lines[3]
    lines = table(capsys, replace(SMALL[1], network_of=too_large))
    assert [line.split() for line in lines] == [["FLUX.1", "fp8", "does", "not", "fit"]]


def test_another_error_is_raised() -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        gpu_flow.if_it_fits(broken)
