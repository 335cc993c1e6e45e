"""Single files as others spelled and marked them: read as ComfyUI does, or told what is missing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from safetensors.torch import save_file
from torch import Tensor

from engine.check.models import examine
from engine.decode.external_vae import ExternalVaes, read_vae
from engine.decode.vae import fit_preview
from engine.denoise.schedules import SCHEDULES
from engine.errors import BrokenModel, MissingVae
from engine.events import Ended, Picture, Progress
from engine.families import registry
from engine.families.stable_diffusion import StableDiffusion, load
from engine.loading.noise_schedule import NoiseSchedule
from engine.models import families
from engine.models.catalogue import Catalogue, Checkpoint, describe, describe_file
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.tensor_names import respelled
from engine.spec import Spec
from tests.engine.ticks import drive, make_pipeline
from tests.factories import make_recipe
from tests.single_files import make_modules, make_true_model, single_file, small_forms
from tests.tiny_vaes import makers_decoder, write_makers

CPU = torch.device("cpu")
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return small forms of all families."""
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture(autouse=True)
def _small(forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "CONFIGS", forms)


@pytest.fixture(scope="module")
def files(forms: Path) -> dict[str, Tensors]:
    """Return family → tensors of its single file."""
    return {
        key: {
            name: tensor.half().contiguous()
            for name, tensor in single_file(key, make_modules(forms / key)).items()
        }
        for key in ("sd1", "sd2", "sdxl")
    }


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def described(folder: Path, tensors: Mapping[str, Tensor], metadata: Any = None) -> Checkpoint:
    path = write(folder / "it.safetensors", tensors, metadata)
    return describe_file(path.name, path)


def renamed(tensors: Tensors, rename: Callable[[str], str]) -> Tensors:
    found = {rename(name): tensor for name, tensor in tensors.items()}
    assert found.keys() != tensors.keys()
    return found


def query(name: str) -> str:
    """Spell the attention of a VAE as older versions of diffusers did."""
    if "first_stage" not in name and "attentions" not in name:
        return name
    for today, old in (("q", "query"), ("k", "key"), ("v", "value"), ("proj_out", "proj_attn")):
        name = name.replace(f"mid.attn_1.{today}.", f"mid.attn_1.{old}.")
    for today, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value")):
        name = name.replace(f"attentions.0.{today}.", f"attentions.0.{old}.")
    return name.replace("attentions.0.to_out.0.", "attentions.0.proj_attn.")


def half_converted(name: str) -> str:
    for today, other in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        name = name.replace(f"mid.attn_1.{today}.", f"mid.attn_1.{other}.")
    return name


UNET = "model.diffusion_model."
OLD: dict[str, tuple[str, Callable[[str], str]]] = {
    "sd1: no inner text model": (
        "sd1",
        lambda n: n.replace("transformer.text_model.", "transformer."),
    ),
    "sdxl: no inner text model": (
        "sdxl",
        lambda n: n.replace("embedders.0.transformer.text_model.", "embedders.0.transformer."),
    ),
    "sd2: text encoder of later code": (
        "sd2",
        lambda n: n.replace("cond_stage_model.model.", "conditioner.embedders.0.model."),
    ),
    "query, key, value": ("sd1", query),
    "to_q in old names": ("sdxl", half_converted),
    "state_dict.": ("sd1", lambda n: f"state_dict.{n}"),
    "state_dict.module.": ("sdxl", lambda n: f"state_dict.module.{n}"),
    "module.": ("sd2", lambda n: f"module.{n}"),
    "_orig_mod.": ("sd1", lambda n: n.replace(UNET, f"{UNET}_orig_mod.")),
    "the averaged copy": ("sd1", lambda n: n.replace(UNET, "model_ema.diffusion_model.")),
}


@pytest.mark.parametrize("what", OLD)
def test_old_spellings_are_the_same_modules(
    files: dict[str, Tensors], forms: Path, tmp_path: Path, what: str
) -> None:
    key, rename = OLD[what]
    checkpoint = described(tmp_path, renamed(files[key], rename))
    assert (checkpoint.family.key, checkpoint.has_vae) == (key, True)
    model = load(checkpoint, CPU, torch.float16)
    for part, made in make_modules(forms / key).items():
        loaded = dict(getattr(model, part).named_parameters())
        for name, weight in made.half().named_parameters():
            assert torch.equal(loaded[name], weight.to(loaded[name].dtype)), name


def test_of_two_spellings_of_one_tensor_todays_is_kept() -> None:
    names = ["module.a", "a", "state_dict.b", "module.b"]
    assert list(respelled(dict.fromkeys(names))) == ["module.a", "a", "b", "module.b"]


@pytest.mark.parametrize("inside", ["", "first_stage_model."])
@pytest.mark.parametrize("square", [False, True])
def test_a_vae_in_diffusers_names_old_and_new_is_read(
    forms: Path, tmp_path: Path, inside: str, square: bool
) -> None:
    vae = make_modules(forms / "sd1", seed=3)["vae"]
    for rename in (str, query):
        tensors = {inside + rename(name): t for name, t in vae.state_dict().items()}
        if square:  # attention as convolutions of one pixel
            old = {n for n, t in tensors.items() if "attentions" in n and t.ndim == 2}
            tensors |= {name: tensors[name][:, :, None, None] for name in old}
        tensors["loss.logvar"] = torch.zeros(1)
        path = write(tmp_path / "vae.safetensors", tensors)
        read = read_vae("vae", path, forms / "sd1").state_dict()
        assert all(torch.equal(read[name], t) for name, t in vae.state_dict().items())


# What a file says → what it then predicts, and whether down to pure noise.
V, EPSILON = "v_prediction", "epsilon"
MARKS: dict[str, tuple[tuple[str, ...], dict[str, str], str, bool]] = {
    "nothing": ((), {}, EPSILON, False),
    "v_pred": (("v_pred",), {}, V, False),
    "v_pred, ztsnr": (("v_pred", "ztsnr"), {}, V, True),
    "ztsnr alone": (("ztsnr",), {}, EPSILON, False),
    "modelspec v": ((), {"modelspec.prediction_type": "v"}, V, False),
    "modelspec v, ztsnr": (("ztsnr",), {"modelspec.prediction_type": "v"}, V, True),
    "modelspec epsilon": ((), {"modelspec.prediction_type": "Epsilon"}, EPSILON, False),
    "ComfyUI's key": ((), {"modelspec.predict_key": "v"}, V, False),
    "a tensor before metadata": (("v_pred",), {"modelspec.prediction_type": "epsilon"}, V, False),
}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("what", MARKS)
def test_what_a_file_says_is_followed_in_every_family(
    files: dict[str, Tensors], tmp_path: Path, family: str, what: str
) -> None:
    names, metadata, prediction, zero_snr = MARKS[what]
    marks = dict.fromkeys(names, torch.zeros(0))
    checkpoint = described(tmp_path, {**files[family], **marks}, metadata)
    assert (checkpoint.prediction, checkpoint.zero_snr) == (prediction, zero_snr)
    wide = family == "sd2" and prediction == V
    assert checkpoint.defaults.width == {"sd1": 512, "sd2": 768 if wide else 512}.get(family, 1024)


def test_metadata_wins_over_what_weights_suggest(files: dict[str, Tensors], tmp_path: Path) -> None:
    name = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
    wide = torch.linspace(-1, 1, files["sd2"][name].numel()).half()
    tensors = {**files["sd2"], name: wide}
    assert described(tmp_path, tensors).prediction == V
    said = described(tmp_path, tensors, {"modelspec.prediction_type": "epsilon"})
    assert said.prediction == EPSILON


def test_an_owners_word_wins_over_the_files(files: dict[str, Tensors], tmp_path: Path) -> None:
    marks = {name: torch.zeros(0) for name in ("v_pred", "ztsnr")}
    own = tmp_path / "it.marble.json"
    own.write_text(json.dumps({"prediction": EPSILON, "zero_snr": False}))
    checkpoint = described(tmp_path, {**files["sdxl"], **marks}, {"modelspec.prediction_type": "x"})
    assert (checkpoint.prediction, checkpoint.zero_snr) == (EPSILON, False)
    schedule = load(checkpoint, CPU, torch.float16).noise_schedule
    assert (schedule.prediction_type, schedule.zero_snr) == (EPSILON, False)
    own.write_text(json.dumps({"prediction": V, "zero_snr": True}))
    schedule = load(described(tmp_path, files["sd1"]), CPU, torch.float16).noise_schedule
    assert (schedule.prediction_type, schedule.zero_snr) == (V, True)


@pytest.mark.parametrize("word", [True, False])
def test_an_owners_word_wins_over_a_folders_scheduler(
    tiny_folder: Path, tmp_path: Path, word: bool
) -> None:
    for path in tiny_folder.iterdir():
        if path.name != "scheduler":
            (tmp_path / path.name).symlink_to(path)
    config = json.loads((tiny_folder / "scheduler" / "scheduler_config.json").read_text())
    (tmp_path / "scheduler").mkdir()
    file = tmp_path / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**config, "rescale_betas_zero_snr": not word}))
    assert load(describe("it", tmp_path), CPU).noise_schedule.zero_snr is not word
    (tmp_path / "marble.json").write_text(json.dumps({"zero_snr": word}))
    assert load(describe("it", tmp_path), CPU).noise_schedule.zero_snr is word


SAID_BADLY: dict[str, tuple[tuple[str, ...], dict[str, str], dict[str, Any], str]] = {
    "a word nobody knows": ((), {"modelspec.prediction_type": "x0"}, {}, "it predicts 'x0'"),
    "Playground": (("edm_mean", "edm_std"), {}, {}, "Playground 2.5"),
    "edm_vpred": (("edm_vpred.sigma_max",), {}, {}, "over noise without steps"),
    "no boolean": ((), {}, {"zero_snr": "yes"}, r"it\.marble\.json: zero_snr must be true or"),
    "a number": ((), {}, {"zero_snr": 1}, "zero_snr must be true or false"),
    "no object": ((), {}, {"defaults": 5}, "defaults must be an object"),
}


@pytest.mark.parametrize("what", SAID_BADLY)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_cannot_be_followed_is_named(
    files: dict[str, Tensors], tmp_path: Path, what: str, family: str
) -> None:
    names, metadata, own, reason = SAID_BADLY[what]
    (tmp_path / "it.marble.json").write_text(json.dumps(own))
    marks = dict.fromkeys(names, torch.zeros(0))
    with pytest.raises(BrokenModel, match=reason):
        described(tmp_path, {**files[family], **marks}, metadata)


def test_zero_snr_stretches_the_table_as_comfyui_and_diffusers_do() -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    cumprod = (1 - rescale_zero_terminal_snr(betas)).cumprod(0)[:-1]  # the last is 0 there
    table = NoiseSchedule(prediction_type=V, zero_snr=True).sigmas
    assert torch.allclose(table[:-1].double(), ((1 - cumprod) / cumprod).sqrt(), rtol=1e-6)
    # ComfyUI's rescale_zero_terminal_snr_sigmas of the plain table, by numpy in float64.
    known = {0: 0.02916716, 1: 0.04206757, 500: 1.77455747, 998: 2254.2379783, 999: 4518.7636987}
    assert table[list(known)].tolist() == pytest.approx(list(known.values()), rel=1e-6)


def by_hand(schedule: str, steps: int) -> list[float]:
    """Return ComfyUI's sigmas of a table with zero SNR, from its definition, in float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    roots = (1 - betas).cumprod(0).sqrt()
    squared = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    squared[-1] = 4.8973451890853435e-08
    table = ((1 - squared) / squared).sqrt()
    if schedule == "sgm_uniform":
        at = torch.linspace(999, 0, steps + 1, dtype=torch.float64)[:-1]
        low, part = at.floor().long(), at.frac()
        high = (low + 1).clamp(max=999)
        logs = (1 - part) * table[low].log() + part * table[high].log()
        return [*logs.exp().tolist(), 0.0]
    if schedule == "simple":
        return [table[-(1 + int(i * 1000 / steps))].item() for i in range(steps)] + [0.0]
    top, end = table[-1].item() ** (1 / 7), table[0].item() ** (1 / 7)
    return [(top + i / (steps - 1) * (end - top)) ** 7 for i in range(steps)] + [0.0]


@pytest.mark.parametrize("schedule", ["sgm_uniform", "simple", "karras"])
@pytest.mark.parametrize("steps", [4, 20])
def test_schedules_start_from_pure_noise(schedule: str, steps: int) -> None:
    noise = NoiseSchedule(prediction_type=V, zero_snr=True)
    sigmas = SCHEDULES[schedule](noise, steps).tolist()
    assert sigmas == pytest.approx(by_hand(schedule, steps), rel=2e-5)
    assert sigmas[0] == pytest.approx(4518.7637, rel=1e-5)


@pytest.fixture
def bare(files: dict[str, Tensors], forms: Path, tmp_path: Path) -> StableDiffusion:
    """Return an SD1 without a VAE, beside a models folder with one and with a tiny one."""
    held = {n: t for n, t in files["sd1"].items() if not n.startswith("first_stage_model.")}
    checkpoint = described(tmp_path, held)
    assert not checkpoint.has_vae
    vae = make_modules(forms / "sd1", seed=5)["vae"]
    write(tmp_path / "vae" / "mse.safetensors", vae.state_dict())
    write_makers(tmp_path / "vae_approx", makers_decoder())
    return load(checkpoint, CPU, torch.float32)


def test_a_model_without_a_vae_draws_with_one_that_is_named(
    bare: StableDiffusion, tmp_path: Path
) -> None:
    external = ExternalVaes(bare, ModelFiles(tmp_path, ModelKind.VAE))
    assert (bare.latent_channels, bare.latent_scale) == (4, 8)
    for ask in (external.decoder, external.encoder):
        with pytest.raises(MissingVae, match=r"has no VAE: choose one .*--vae \(mse, taesd\)"):
            ask(None)
    with pytest.raises(MissingVae):
        external.encoder("taesd")  # it only decodes
    with pytest.raises(MissingVae):
        bare.vae.decode(torch.zeros(1, 4, 8, 8))
    lent = external.decoder("mse")
    assert external.encoder("mse") is lent
    with torch.inference_mode():
        assert lent.vae.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)
        assert fit_preview(external.for_previews()).shape == (5, 3)


def test_its_jobs_are_drawn_previews_included_or_told_what_is_missing(
    bare: StableDiffusion, tmp_path: Path
) -> None:
    whole = make_true_model(tmp_path / "true", "sd1")
    model = replace(whole, vae=bare.vae, checkpoint=replace(whole.checkpoint, has_vae=False))
    seconds = count()
    pipeline = make_pipeline(model, models_dir=tmp_path, clock=lambda: float(next(seconds)))
    recipes = [make_recipe(steps=6, vae=name, seed=1) for name in ("mse", "taesd", None)]
    told = drive(pipeline, {0: [Spec(job=n, epoch=1, recipe=r) for n, r in enumerate(recipes)]})
    pipeline.close()
    for number in (0, 1):
        assert [type(news) for news in told[number]][-2:] == [Picture, Ended], told[number][-1]
    assert any(isinstance(news, Progress) and news.preview for news in told[0] + told[1])
    (ended,) = (news for news in told[2] if isinstance(news, Ended))
    assert isinstance(ended.error, MissingVae)


LACKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "text encoder": (lambda n: "cond_stage" not in n, "it holds no text encoder .*; save it"),
    "U-Net alone": (lambda n: n.startswith(UNET), "it holds no text encoder"),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_is_missing_is_said_and_what_helps(
    files: dict[str, Tensors], tmp_path: Path, what: str
) -> None:
    kept, reason = LACKS[what]
    with pytest.raises(BrokenModel, match=reason):
        described(tmp_path, {n: t for n, t in files["sd1"].items() if kept(n)})


def test_a_unet_under_its_own_names_is_told(files: dict[str, Tensors], tmp_path: Path) -> None:
    bare = {n.removeprefix(UNET): t for n, t in files["sd1"].items() if n.startswith(UNET)}
    with pytest.raises(BrokenModel, match="it is a U-Net alone; save it together with its text"):
        described(tmp_path, bare)
    joined = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in bare.items()}
    with pytest.raises(BrokenModel, match="averaged copy of a model alone"):
        described(tmp_path, joined)


HARMLESS = (
    "alphas_cumprod", "betas", "sqrt_recipm1_alphas_cumprod", "posterior_variance", "global_step",
    "denoiser.sigmas", "model_ema.decay", "model_ema.diffusion_modelinput_blocks00weight",
    "first_stage_model.loss.logvar", "cond_stage_model.logit_scale", "v_pred",
    "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "conditioner.embedders.0.transformer.text_projection.weight",
)  # fmt: skip
UNREAD = (
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.processor.to_k_ip.weight",
    f"{UNET}input_blocks.1.2.temporal.weight",
    "control_model.zero_convs.0.0.weight",
    "cond_stage_model.transformer.vision_model.embeddings.weight",
    "first_stage_model.extra.weight",
    "something",
)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_tensor_is_read_or_harmless_or_named(
    files: dict[str, Tensors], tmp_path: Path, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    harmless = {name: torch.zeros(1) for name in HARMLESS}
    checkpoint = described(tmp_path, {**files[family], **harmless})
    assert registry.load(checkpoint, CPU, torch.float16).unread == ()
    assert caplog.records == []
    unread = {name: torch.zeros(1) for name in UNREAD}
    checkpoint = described(tmp_path, {**files[family], **unread})
    model = registry.load(checkpoint, CPU, torch.float16)
    assert set(model.unread) == set(UNREAD)
    [told] = [record.getMessage() for record in caplog.records]
    assert all(name in told for name in UNREAD)
    (verdict,) = examine(Catalogue(tmp_path), ["it"])
    assert verdict.problem is None
    assert set(verdict.unread) == set(UNREAD)
