"""Upscalers: real forms with small random weights, found by name, run in tiles without a seam."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import BrokenModel, UnknownPart
from engine.finish.upscale import _spandrel, lanczos, load_upscale_model, upscale
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import LANCZOS
from tests.conftest import ROOT
from tests.engine.pictures.test_tiles import picture

# spandrel's own habit, in the form SwinIR.
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

CPU = torch.device("cpu")

needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None,
    reason="spandrel is not installed (pip install --no-deps spandrel einops)",
)


def network(form: str) -> torch.nn.Module:
    """Return a network of a true form, small, with random weights."""
    _spandrel()
    from spandrel.architectures import ESRGAN, SPAN, Compact, SwinIR

    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: torch.nn.Module = {
            "ESRGAN ×4": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=2, scale=4),
            "ESRGAN ×2": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=2),
            "Compact ×3": lambda: Compact.Compact(num_feat=8, num_conv=3, upscale=3),
            "Compact ×3, wide": lambda: Compact.Compact(num_feat=32, num_conv=2, upscale=3),
            "SPAN ×4": lambda: SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8),
            "SwinIR ×2": lambda: SwinIR.SwinIR(
                img_size=32,
                embed_dim=16,
                depths=[2],
                num_heads=[2],
                window_size=8,
                mlp_ratio=2.0,
                upscale=2,
                upsampler="pixelshuffledirect",
            ),
        }[form]()
    return made


FORMS = {"ESRGAN ×4": 4, "ESRGAN ×2": 2, "Compact ×3": 3, "SPAN ×4": 4, "SwinIR ×2": 2}


def saved(folder: Path, form: str) -> Path:
    """Write a network's weights as people find them: bare tensors in a safetensors file."""
    weights = {name: value.contiguous() for name, value in network(form).state_dict().items()}
    path = folder / f"{form}.safetensors"
    save_file(weights, path)
    return path


@needs_spandrel
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_each_form_is_known_by_its_weights(form: str, tmp_path: Path) -> None:
    upscaler = load_upscale_model(form, saved(tmp_path, form), CPU)
    assert upscaler.scale == FORMS[form]
    assert upscaler.size > 0
    x = picture(24, 40)
    with torch.inference_mode():
        bare = network(form).eval()(x).clamp(0, 1)
    found = upscaler(x)
    assert found.shape == (1, 3, 24 * upscaler.scale, 40 * upscaler.scale)
    assert bare.std() > 0
    assert (found - bare).abs().max() < 1e-5


@needs_spandrel
@pytest.mark.parametrize("form", FORMS)
def test_tiles_leave_no_seam(form: str, tmp_path: Path) -> None:
    upscaler = load_upscale_model(form, saved(tmp_path, form), CPU)
    x = smooth(150, 97)
    whole, in_tiles = upscaler(x, tile=256), upscaler(x, tile=64, overlap=32)
    assert (whole - in_tiles).abs().max() < 0.5 / 255


def smooth(height: int, width: int) -> Tensor:
    """Return a picture with soft shapes and a little noise, as photographs have."""
    coarse = torch.nn.functional.interpolate(picture(6, 6), size=(height, width), mode="bicubic")
    return (coarse * 0.9 + picture(height, width) * 0.1).clamp(0, 1)


@needs_spandrel
def test_an_upscaler_runs_until_the_picture_is_large_enough(tmp_path: Path) -> None:
    upscaler = load_upscale_model("x", saved(tmp_path, "ESRGAN ×2"), CPU)
    x = smooth(24, 32)
    twice = upscaler(upscaler(x))
    assert torch.equal(upscale(x, 128, 96, upscaler), twice)
    assert torch.equal(upscale(x, 100, 75, upscaler), lanczos(twice, 100, 75))
    assert torch.equal(upscale(x, 64, 48, upscaler), upscaler(x))


def test_lanczos_keeps_what_is_flat_and_stays_in_range() -> None:
    flat = torch.full((1, 3, 10, 12), 0.25)
    assert (lanczos(flat, 48, 40) - 0.25).abs().max() < 1e-6
    edges = (picture(16, 16) > 0.5).float()
    large = lanczos(edges, 64, 64)
    assert large.shape == (1, 3, 64, 64)
    assert large.min() == 0
    assert large.max() == 1
    assert lanczos(edges, 16, 16) is edges


@needs_spandrel
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "safetensors|header|Header"), (b"\0" * 100, "header|Header"), (b"text" * 50, "eader")],
)
def test_a_damaged_file_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(BrokenModel, match=words) as caught:
        load_upscale_model("broken", path, CPU)
    assert str(caught.value).startswith("The upscaler 'broken' cannot be loaded: ")


@needs_spandrel
def test_a_file_that_is_cut_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "ESRGAN ×4")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BrokenModel, match="cannot be loaded"):
        load_upscale_model("cut", path, CPU)


@needs_spandrel
def test_weights_of_something_else_are_no_upscaler(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(BrokenModel, match="no form that spandrel knows"):
        load_upscale_model("other", path, CPU)


@needs_spandrel
def test_a_network_that_does_not_enlarge_is_refused(tmp_path: Path) -> None:
    from spandrel.architectures import ESRGAN

    path = tmp_path / "one.safetensors"
    save_file(ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=1).state_dict(), path)
    with pytest.raises(BrokenModel, match="does not enlarge"):
        load_upscale_model("one", path, CPU)


def test_names_come_from_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "upscale_models"
    (folder / "anime").mkdir(parents=True)
    for name in ("4x-Sharp.safetensors", "anime/2x-Line.safetensors", "old.pth", "notes.txt"):
        (folder / name).touch()
    (folder / "4x-Sharp.pth").touch()
    shelf = ModelFiles(tmp_path, ModelKind.UPSCALER)
    assert shelf.names() == [LANCZOS, "latent", "2x-Line", "4x-Sharp", "old"]
    assert shelf.get("2x-Line") == folder / "anime" / "2x-Line.safetensors"
    assert shelf.get("4x-Sharp") == folder / "4x-Sharp.safetensors"
    assert shelf.get(LANCZOS) is None
    with pytest.raises(UnknownPart, match="no upscaler '4x-shrp' \\(did you mean '4x-Sharp'"):
        shelf.get("4x-shrp")
    with pytest.raises(UnknownPart, match="available: lanczos, latent, 2x-Line"):
        shelf.get("../../etc/passwd")
    with pytest.raises(BrokenModel, match="convert it to safetensors"):
        shelf.get("old")


def test_without_a_models_folder_lanczos_is_there(tmp_path: Path) -> None:
    for models_dir in (None, tmp_path / "absent"):
        assert ModelFiles(models_dir, ModelKind.UPSCALER).names() == [LANCZOS, "latent"]


@needs_spandrel
def test_the_stand_in_for_torchvision_does_not_stay() -> None:
    code = (
        "import importlib.util, sys, json\n"
        "from engine.finish.upscale import _spandrel\n"
        "before = importlib.util.find_spec('torchvision') is None\n"
        "_spandrel()\n"
        "left = [name for name in sys.modules if name.startswith('torchvision')]\n"
        "print(json.dumps([left, before == (importlib.util.find_spec('torchvision') is None)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], True]


@needs_spandrel
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: not Linux")
def test_memory_grows_by_the_result_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, "Compact ×3, wide")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from engine.finish.upscale import load_upscale_model\n"
        "upscaler = load_upscale_model('x', Path(sys.argv[1]), torch.device('cpu'))\n"
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0]) >> 10\n"
        "upscaler(torch.rand(1, 3, 128, 128), tile=128)\n"
        "start = peak()\n"
        "upscaler(torch.rand(1, 3, 768, 768), tile=128, overlap=16)\n"
        "print(peak() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # MiB: the result takes 61; in one piece each layer of the network would take 72 more.
    assert int(done.stdout) < 61 + 32
