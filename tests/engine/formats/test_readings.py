"""Pictures by other programs: whose they are, what they say, and what drawing makes of it."""

import copy
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from engine.errors import MetadataError, OptionError, UserError
from engine.formats.metadata import read_object, read_recipe
from engine.formats.reading import NECESSARY, Reading
from engine.recipe.limits import BROWNIAN, SAMPLERS, SEEDS
from engine.recipe.parts import Lora, Upscale
from engine.recipe.patches import Patch
from tests.conftest import ROOT
from tests.engine.formats import others
from tests.engine.formats.others import FIELDS, LINE, PROMPT, TEXTS, as_json, hiding, jpeg, png
from tests.engine.formats.test_metadata import png_with, with_chunk
from tests.factories import make_recipe

SETTINGS = f"{LINE}, Model: any, RNG: CPU"
ALL = {name: getattr(make_recipe(), name) for name in NECESSARY}
USUAL = {"sampler": "euler", "schedule": "karras", "guidance_scale": 5.0}
DOCS = ROOT / "docs" / "comfyui-and-a1111.md"


# Keys whose values change no picture, and why.
REPEATED, FILES, ALONE = "said by another key as well", "of files or programs", "works with others"
QUIET: dict[str, dict[str, str]] = {
    "SwarmUI": {"images": FILES, "swarm_version": FILES, "date": FILES, "generation_time": FILES,
                "sui_models": REPEATED},
    "InvokeAI": {"app_version": FILES, "key": REPEATED, "base": REPEATED, "type": REPEATED},
    "sd-metadata": {"app_id": FILES, "app_version": FILES, "model": FILES, "model_hash": REPEATED},
    "Fooocus": {"base_model_hash": REPEATED, "metadata_scheme": FILES, "version": FILES},
    "RuinedFooocus": {"software": FILES},
    "NovelAI": {"n_samples": FILES, "request_type": FILES, "use_coords": ALONE, "use_order": ALONE},
    "Draw Things": {"v2.loras": REPEATED, "v2.seed": REPEATED, "v2.seedMode": REPEATED,
                    "v2.maskBlur": ALONE},
    "TensorArt": {"imageCount": FILES, "label": REPEATED},
}  # fmt: skip


def read(text: str) -> Reading:
    return read_recipe(png({"parameters": text}))


def said_by(name: str) -> tuple[str, dict[str, Any]]:
    """Return the JSON of a program's sample, and the key of its text."""
    if name == "sd-metadata":
        return name, copy.deepcopy(others.SD_METADATA)
    if name == "Draw Things":
        return "", copy.deepcopy(others.DRAW_THINGS)
    key = next(key for key, text in TEXTS[name].items() if text.startswith("{"))
    return key, json.loads(TEXTS[name][key].strip("\0"))


def texts_of(name: str, key: str, data: dict[str, Any]) -> dict[str, str]:
    return TEXTS.get(name, {}) | {key: json.dumps(data)} if key else others.in_xmp(json.dumps(data))


def ways(data: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the way to each value in objects within objects."""
    for key, value in data.items():
        way = (*before, key)
        yield from ways(value, way) if isinstance(value, dict) else [way]


@pytest.mark.parametrize(
    "name",
    ["SwarmUI", "InvokeAI", "sd-metadata", "Fooocus", "RuinedFooocus", "NovelAI", "Draw Things",
     "TensorArt", "Easy Diffusion"],
)  # fmt: skip
def test_another_value_of_any_key_is_noticed_or_changes_no_picture(name: str) -> None:
    key, data = said_by(name)
    usual = read_recipe(png(texts_of(name, key, data)))
    unnoticed = []
    for way in ways(data):
        changed = copy.deepcopy(data)
        inner = changed
        for part in way[:-1]:
            inner = inner[part]
        inner[way[-1]] = ["zz"] if isinstance(inner[way[-1]], list) else "zz"
        if read_recipe(png(texts_of(name, key, changed))) == usual:
            unnoticed.append(way)
    quiet = QUIET.get(name, {})
    by = [({way[-1], ".".join(way)} & quiet.keys(), way) for way in unnoticed]
    assert [way for keys, way in by if not keys] == []
    assert {key for keys, _ in by for key in keys} == quiet.keys()


@pytest.mark.parametrize("name", TEXTS)
def test_every_program_is_named_and_says_what_it_drew_from(name: str) -> None:
    reading = read_recipe(png(TEXTS[name]))
    assert reading.source == name
    assert {field: reading.values[field] for field in FIELDS} == FIELDS
    model = "NovelAI Diffusion V4 37442FCA" if name == "NovelAI" else "any"
    assert str(reading.values["checkpoint"]).partition(".")[0] == model
    assert reading.values["guidance_scale"] == 6
    sampler = "dpmpp_2m_sde" if name == "Fooocus" else "euler_ancestral"
    assert reading.values["sampler"] == sampler
    assert all(reading.where.get(field) for field in (*FIELDS, "checkpoint", "sampler"))
    assert reading.completed({**USUAL, "guidance_scale": 1}).guidance_scale == 6


@pytest.mark.parametrize(
    "name",
    ["Civitai", "Krita AI", "SwarmUI", "InvokeAI", "Fooocus", "RuinedFooocus", "Draw Things",
     "TensorArt"],
)  # fmt: skip
def test_loras_are_read_wherever_they_stand(name: str) -> None:
    (lora,) = read_recipe(png(TEXTS[name])).values["loras"]
    assert (lora.name.partition(".")[0], lora.weight) == ("ink", 0.5)


def test_a_list_of_loras_that_stands_in_two_places_is_read_once() -> None:
    said = others.DRAW_THINGS | {"v2": {"loras": [{"file": "ink.ckpt", "weight": 0.5}]}}
    for texts in (said, said | {"lora": []}):
        reading = read_recipe(png(others.in_xmp(json.dumps(texts))))
        assert reading.values["loras"] == (Lora(name="ink.ckpt", weight=0.5),)


@pytest.mark.parametrize(
    ("name", "key", "field", "entry"),
    [
        ("TensorArt", "generation_data", "models", {"hash": "0x0", "weight": 0.5}),
        ("InvokeAI", "invokeai_metadata", "loras", {"model": {"key": "k"}, "weight": 0.5}),
        ("RuinedFooocus", "parameters", "loras", 5),
        ("SwarmUI", "parameters", "sui_image_params.loras", {"a": 1}),
    ],
)
def test_a_lora_without_a_name_is_noted_as_it_stands(
    name: str, key: str, field: str, entry: object
) -> None:
    said = json.loads(TEXTS[name][key].strip("\0"))
    *parents, last = field.split(".")
    inner = said[parents[0]] if parents else said
    inner[last] = [entry]
    reading = read_recipe(png(as_json(key, **said)))
    assert reading.values["loras"] == ()
    assert any(each.startswith(f"{last}: {entry} (") for each in reading.ignored)


@pytest.mark.parametrize("key", ["lora_combined_1", "LoRA 1"])
def test_loras_of_fooocus_stand_alone_in_its_pictures_and_in_its_log(key: str) -> None:
    said = json.loads(TEXTS["Fooocus"]["parameters"])
    del said["loras"]
    reading = read(json.dumps(said | {key: "a : b.safetensors : 0.25", f"{key[:-1]}2": "pen : x"}))
    assert reading.values["loras"] == (Lora(name="a : b.safetensors", weight=0.25),)
    plain = key.lower().replace(" ", "_")
    assert f"{plain[:-1]}2: pen : x (it must be between -4 and 4)" in reading.ignored
    assert not any(each.startswith(f"{plain}:") for each in reading.ignored)


def test_loras_that_are_plain_texts_are_names() -> None:
    said = json.loads(TEXTS["RuinedFooocus"]["parameters"]) | {"loras": ["ink", "pen"]}
    assert read(json.dumps(said)).values["loras"] == (Lora(name="ink"), Lora(name="pen"))


def test_a_program_without_loras_may_have_a_key_without_a_name() -> None:
    key, data = said_by("RuinedFooocus")
    del data["loras"]
    reading = read_recipe(png(texts_of("RuinedFooocus", key, data | {"": 5})))
    assert (reading.values["loras"], reading.ignored) == ((), (": 5",))


def test_an_empty_text_is_no_value_but_a_prompt() -> None:
    said = json.loads(TEXTS["Easy Diffusion"]["Comment"])
    said |= {"use_vae_model": "", "sampler_name": "", "prompt": ""}
    reading = read_recipe(png(as_json("Comment", **said)))
    assert reading.values["prompt"] == ""
    assert not reading.values.keys() & {"vae", "sampler"}
    assert reading.ignored == ()


@pytest.mark.parametrize("name", ["A1111", "SwarmUI", "Fooocus"])
def test_a_jpeg_says_the_same_as_a_png(name: str) -> None:
    text = TEXTS[name]["parameters"]
    assert read_recipe(jpeg(b"UNICODE\0" + text.encode("utf-16-be"))) == read_recipe(
        png({"parameters": text})
    )


def test_the_docs_name_every_program_that_is_read() -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    found = {name: (keys, loras) for name, keys, loras in rows}
    assert found.keys() >= TEXTS.keys()
    for name, texts in TEXTS.items():
        assert any(f"`{key}`" in found[name][0] for key in texts), name
        has_loras = bool(read_recipe(png(texts)).values.get("loras"))
        assert ("LoRAs" in found[name][1]) >= has_loras, name


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_hidden_among_pixels_is_read(packed: bool) -> None:
    text = TEXTS["A1111"]["parameters"] + " 拿着"
    found = read_recipe(hiding(text, packed=packed))
    assert found.source == "A1111"
    assert {field: found.values[field] for field in FIELDS} == FIELDS


def test_what_novelai_hides_is_read_and_damaged_hiding_is_none() -> None:
    text = json.dumps(TEXTS["NovelAI"])
    assert read_recipe(hiding(text, packed=True)) == read_recipe(png(TEXTS["NovelAI"]))
    for broken in (hiding("{}", packed=False), hiding("[1]", packed=True), hiding("", packed=True)):
        with pytest.raises(MetadataError, match="no recipe"):
            read_recipe(broken)


@pytest.mark.parametrize(
    ("texts", "model"),
    [
        (as_json("sd-metadata", **others.SD_METADATA), "any"),
        ({"Dream": f'"{PROMPT}" -s 24 -S 11 -W 512 -H 768 -C 6 -A k_euler_a'}, None),
    ],
)  # fmt: skip
def test_invokeais_older_forms_are_read(texts: dict[str, str], model: str | None) -> None:
    reading = read_recipe(png(texts))
    assert reading.source == "InvokeAI"
    values = FIELDS | {
        "schedule": "normal",
        "sampler": "euler_ancestral",
        "checkpoint": model,
        "guidance_scale": 6,
    }
    del values["negative_prompt"]
    assert {name: reading.values.get(name) for name in values} == values
    assert reading.ignored == ()


def test_all_options_of_the_command_in_a_picture_are_read_or_named() -> None:
    command = r'"a \"hut\" in fog++, [rain]" -s50 --hires_fix -S42 -W512 -I "my init.png" -f 0.6 '
    reading = read_recipe(png({"Dream": command + "-H 768 -V 77:0.2 --cfg_scale=6 -n 3"}))
    values = {"seed": 42, "steps": 50, "width": 512, "height": 768, "guidance_scale": 6}
    assert {name: reading.values[name] for name in values} == values
    assert reading.values["prompt"] == 'a "hut" in fog++, [rain]'
    assert reading.where["seed"] == "-S"
    words, *options = reading.ignored
    assert "g++, [rain] (drawn as words" in words
    assert options == ["--hires_fix: True", "-I: my init.png", "-f: 0.6", "-V: 77:0.2"]


def test_a_command_that_is_longer_than_any_is_refused() -> None:
    with pytest.raises(MetadataError, match="is over 100,000 characters long"):
        read_recipe(png({"Dream": '"a" ' + "-s 50 " * 20_000}))


@pytest.mark.parametrize("text", ['"Hello" -and goodbye', '"cat" says --word', '"cat" - S 5'])
def test_a_comment_in_quotes_is_no_command(text: str) -> None:
    with pytest.raises(MetadataError, match="only a comment"):
        read_recipe(png({"Comment": text}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "img2img"}, ["type: img2img"]),
        ({"init_image_path": "a", "strength": 0.7}, ["init_image_path: a", "strength: 0.7"]),
        ({"hires_fix": True, "seamless": True}, ["seamless: True", "hires_fix: True"]),
        ({"variations": [[3, 0.2]], "perlin": 0.1}, ["perlin: 0.1", "variations: [[3, 0.2]]"]),
        (
            {"prompt": [{"prompt": PROMPT, "weight": 0.7}, {"prompt": "sun", "weight": 0.3}]},
            ["weight: 0.7", "prompt: {'prompt': 'sun', 'weight': 0.3}"],
        ),
    ],
)  # fmt: skip
def test_invokeais_older_json_is_looked_into(change: dict[str, object], said: list[str]) -> None:
    data = others.SD_METADATA | {"image": {**others.SD_METADATA["image"], **change}}
    assert list(read_recipe(png(as_json("sd-metadata", **data))).ignored) == said


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("InvokeAI", {"positive_style_prompt": "ink"}, "positive_style_prompt: ink"),
        ("InvokeAI", {"negative_style_prompt": "ink"}, "negative_style_prompt: ink"),
        ("InvokeAI", {"rand_device": "cuda"}, "rand_device: cuda"),
        ("InvokeAI", {"generation_mode": "sdxl_img2img"}, "generation_mode: sdxl_img2img"),
        ("InvokeAI", {"vae": {"key": "v"}}, "vae: {'key': 'v'}"),
        ("Draw Things", {"v2": {"hiresFix": True}}, "hiresfix: True"),
        ("Draw Things", {"v2": {"controls": [{"file": "c"}]}}, "controls: [{'file': 'c'}]"),
        ("Draw Things", {"v2": {"refinerModel": "r"}}, "refinermodel: r"),
        ("Draw Things", {"v2": {"upscaler": "u"}}, "upscaler: u"),
        ("Draw Things", {"v2": {"clipSkip": 2}}, "clipskip: 2"),
        ("NovelAI", {"v4_prompt": {"caption": {"char_captions": ["girl"]}}},
         "char_captions: ['girl']"),
    ],
)  # fmt: skip
def test_a_value_that_changes_a_picture_is_named_as_not_used(
    name: str, change: dict[str, object], said: str
) -> None:
    key, data = said_by(name)
    assert said not in read_recipe(png(texts_of(name, key, data))).ignored
    assert said in read_recipe(png(texts_of(name, key, data | change))).ignored


def test_sections_of_a_prompt_are_cut_and_named_and_embeddings_are_read() -> None:
    key, data = said_by("SwarmUI")
    data["sui_image_params"] |= {
        "prompt": "a <embed:ink> hut <segment:face> nice face <lora:b:1> <base> at night",
        "negativeprompt": "<embed:bad>, rain <wild:x> <refiner>blur",
    }
    reading = read_recipe(png(texts_of("SwarmUI", key, data)))
    assert reading.values["prompt"] == "a embedding:ink hut at night"
    assert reading.values["negative_prompt"] == "embedding:bad, rain"
    assert [lora.name for lora in reading.values["loras"]] == ["ink"]
    assert reading.ignored == (
        "<wild:x> (Marble has no such network; left out)",
        "<segment:face> nice face <lora:b:1> (for a part of the picture or another pass; left out)",
        "<refiner>blur (for a part of the picture or another pass; left out)",
    )


def test_halves_of_surrogate_pairs_in_hidden_json_are_mended() -> None:
    texts = TEXTS["NovelAI"] | {"Source": "any \ud800", "Description": "\udfff"}
    values = read_recipe(hiding(json.dumps(texts), packed=True)).values
    assert values["checkpoint"] == "any \ufffd"


def test_a_photographs_comment_is_one() -> None:
    for data in (
        jpeg(b"ASCII\0\0\0Screenshot"),
        png({"Comment": "Screenshot"}),
        png({"parameters": "Screenshot"}),
        png({"Description": "Screenshot"}),
    ):
        with pytest.raises(MetadataError, match="only a comment: 'Screenshot'"):
            read_recipe(data)


def test_a_workflow_of_invokeai_is_not_called_comfyuis() -> None:
    flow = {"name": "n", "nodes": [{"id": "u", "type": "invocation", "data": {}}], "edges": []}
    with pytest.raises(MetadataError, match="workflow of InvokeAI, which Marble cannot read"):
        read_object(flow)


def test_a_text_in_utf_8_is_read_as_such_and_latin_1_too() -> None:
    for encoding, word in (("utf-8", "Häuschen, 家"), ("latin-1", "Häuschen")):
        body = b"parameters\0" + f"{word}\n{SETTINGS}".encode(encoding)
        assert read_recipe(with_chunk(b"tEXt", body)).values["prompt"] == word


@pytest.mark.parametrize(
    ("sampler", "version", "more", "ours"),
    [
        ("DPM++ 2M", "v1.6.0", "", ("dpmpp_2m", "normal")),
        ("DPM++ 2M Karras", "v1.6.0", "", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "v1.8.0", "", ("dpmpp_2m", "normal")),
        ("DPM++ 2M", "f0.0.17v1.8.0rc-latest-276-g29be1da7", "", ("dpmpp_2m", "normal")),
        ("DPM++ 2M", "", "", ("dpmpp_2m", "normal")),
        ("DPM++ 2M", "v1.9.0", ", Schedule type: Automatic", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "v1.10.1", ", Schedule type: Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "v1.10.1", ", Schedule type: Uniform", ("dpmpp_2m", "normal")),
        ("DPM++ 2M SDE", "v1.7.0", "", ("dpmpp_2m_sde", "normal")),
        ("DDIM", "v1.7.0", "", ("ddim", "ddim_uniform")),
    ],
)
def test_the_version_tells_which_schedule_is_meant(
    sampler: str, version: str, more: str, ours: tuple[str, str]
) -> None:
    text = (
        SETTINGS.replace("Euler a", sampler) + more + (f", Version: {version}" if version else "")
    )
    values = read(f"a\n{text}").values
    assert (values["sampler"], values["schedule"]) == ours


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("euler_a", "euler_ancestral"), ("dpm++2m", "dpmpp_2m"), ("dpm2", "dpm_2"),
        ("UniPC", "uni_pc"), ("DEIS", "deis"), ("kdpm_2_a", "dpm_2_ancestral"), ("lms_k", "lms"),
        ("dpmpp_2m_sde_k", "dpmpp_2m_sde"), ("k_dpmpp_2s_ancestral", "dpmpp_2s_ancestral"),
        ("Euler Ancestral", "euler_ancestral"), ("DPM++ SDE Karras", "dpmpp_sde"),
        ("Creative - UniPC", "uni_pc"), ("DPM++ 2M SDE Heun Karras", "dpmpp_2m_sde_heun"),
        ("ER SDE", "er_sde"), ("SEEDS-2", "seeds_2"), ("Seeds 3", "seeds_3"),
        ("IPNDM V", "ipndm_v"), ("SA Solver", "sa_solver"), ("sa-solver pece", "sa_solver_pece"),
        ("Res Multistep A", "res_multistep_ancestral"), ("HeunPP2", "heunpp2"),
        ("Euler a CFG++", "euler_ancestral_cfg_pp"), ("DPM++ 2M CFG++", "dpmpp_2m_cfg_pp"),
        ("EXP Heun 2 x0 SDE", "exp_heun_2_x0_sde"), *((name, name) for name in SAMPLERS),
    ],
)  # fmt: skip
def test_a_sampler_is_known_by_anybodys_name(name: str, ours: str) -> None:
    assert read(f"a\n{SETTINGS.replace('Euler a', name)}").values["sampler"] == ours


@pytest.mark.parametrize(
    ("name", "sampler", "schedule", "noise"),
    [
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde", "normal", "gpu"),
        ("dpmpp_3m_sde_gpu_karras", "dpmpp_3m_sde", "karras", "gpu"),
        ("dpmpp_sde_karras", "dpmpp_sde", "karras", "cpu"),
        ("dpmpp_2m_sde_heun_gpu", "dpmpp_2m_sde_heun", "normal", "gpu"),
        ("ER SDE", "er_sde", "normal", "gpu"),
        ("DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras", "cpu"),
        ("euler_ancestral", "euler_ancestral", "normal", "gpu"),
        ("euler", "euler", "normal", "cpu"),
    ],
)
@pytest.mark.parametrize("version", ["ComfyUI", "Fooocus v2.5.5"])
def test_a_samplers_name_tells_whose_noise_comfyuis_code_adds(
    name: str, sampler: str, schedule: str, noise: str, version: str
) -> None:
    line = SETTINGS.replace("Euler a", name).replace(", RNG: CPU", "")
    values = read(f"a\n{line}, Version: {version}").values
    if version.startswith("Fooocus") and sampler in BROWNIAN:
        noise = "gpu"  # whatever the name is: its line names both alike
    assert (values["sampler"], values["schedule"], values["noise"]) == (sampler, schedule, noise)


@pytest.mark.parametrize("name", ["SwarmUI", "RuinedFooocus", "Fooocus"])
def test_json_of_programs_on_comfyuis_code_is_drawn_with_a_gpus_noise(name: str) -> None:
    reading = read_recipe(png(TEXTS[name]))
    assert (reading.values["noise"], reading.where["noise"]) == ("gpu", reading.where["sampler"])
    texts = {
        key: re.sub("euler_ancestral|_sde_gpu", "_sde", text) for key, text in TEXTS[name].items()
    }
    texts = {key: text.replace('"_sde"', '"dpmpp_2m_sde"') for key, text in texts.items()}
    noise = "gpu" if name == "Fooocus" else "cpu"  # which draws that of SDEs on a GPU alone
    assert read_recipe(png(texts)).values["noise"] == noise


@pytest.mark.parametrize(
    ("name", "value", "missing"),
    [
        ("Sampler", "DPM fast", "sampler"),
        ("Seed", "-1", "seed"),
        ("Steps", "999", "steps"),
        ("CFG scale", "nan", "guidance_scale"),
    ],
)
def test_what_no_recipe_takes_is_named_and_the_rest_is_read(
    name: str, value: str, missing: str
) -> None:
    reading = read("a\n" + re.sub(rf"{name}: [^,]*", f"{name}: {value}", SETTINGS))
    assert reading.missing == (missing,)
    assert reading.ignored[0].startswith(f"{name}: {value} (")
    with pytest.raises(OptionError, match=missing):
        _ = reading.recipe
    usual = {"sampler": "lms", "seed": 3, "steps": 5, "guidance_scale": 2.0}
    assert getattr(reading.completed(usual), missing) == usual[missing]


@pytest.mark.parametrize("name", ["Sampler", "Seed", "Steps", "CFG scale", "Size", "Model"])
def test_a_value_that_is_missing_hides_no_other(name: str) -> None:
    reading = read("a\nNegative prompt: b\n" + re.sub(rf"{name}: [^,]*, ", "", SETTINGS))
    assert reading.values["negative_prompt"] == "b"
    assert reading.missing
    with pytest.raises(UserError, match="lacks: "):
        _ = reading.recipe


def test_a_line_without_words_is_read() -> None:
    recipe = read(SETTINGS).recipe
    assert (recipe.prompt, recipe.seed) == ("", 11)
    assert read(f"Negative prompt: rain\n{SETTINGS}").recipe.negative_prompt == "rain"


def test_a_size_off_the_grid_is_rounded_as_theirs_and_said() -> None:
    reading = read(f"a\n{SETTINGS.replace('512x768', '515x767')}")
    assert (reading.values["width"], reading.values["height"]) == (515, 767)
    assert (reading.recipe.width, reading.recipe.height) == (512, 760)
    assert reading.ignored == ("515×767 pixels become 512×760, in whole latents",)


@pytest.mark.parametrize(
    ("tag", "lora"),
    [
        ("<lora:ink:0.6:lbw=MIDD>", Lora(name="ink", weight=0.6)),
        ("<lora:ink:0.6:0.4:lbw=1,0,0>", Lora(name="ink", weight=0.4, text_weight=0.6)),
        ("<lora:ink:0.6:start=2>", Lora(name="ink", weight=0.6)),
    ],
)
def test_a_lora_with_weights_of_blocks_is_read_but_for_these(tag: str, lora: Lora) -> None:
    reading = read(f"a {tag}\n{SETTINGS}")
    assert reading.values["loras"] == (lora,)
    assert reading.ignored == (f"{tag} (only the name and the first weights are read)",)


@pytest.mark.parametrize(
    ("more", "upscale", "size"),
    [
        ("Hires resize: 1024x0", Upscale(factor=2, strength=0.5), (512, 768)),
        ("Hires resize: 0x1536", Upscale(factor=2, strength=0.5), (512, 768)),
        ("Hires upscale: 2, Hires resize: 0x0", Upscale(factor=2, strength=0.5), (512, 768)),
        ("First pass size: 256x384", Upscale(factor=2, by="latent", strength=0.5), (256, 384)),
    ],
)
def test_hires_fix_of_all_ages_is_a_second_pass(
    more: str, upscale: Upscale, size: tuple[int, int]
) -> None:
    recipe = read(f"a\n{SETTINGS}, Denoising strength: 0.5, Hires steps: 12, {more}").recipe
    assert (recipe.width, recipe.height) == size
    assert recipe.upscale == upscale


def test_a_first_pass_of_no_size_is_of_512_by_512_pixels_in_the_same_shape() -> None:
    more = "Denoising strength: 0.5, Hires steps: 12, First pass size: 0x0"
    recipe = read(f"a\n{SETTINGS.replace('512x768', '1024x1024')}, {more}").recipe
    assert (recipe.width, recipe.height) == (512, 512)
    assert recipe.upscale == Upscale(factor=2, by="latent", strength=0.5)
    reading = read(f"a\n{SETTINGS}, {more}")  # 448 × 640, which is another shape
    assert any("another aspect ratio" in each for each in reading.ignored)


@pytest.mark.parametrize("size", ["tall", "0x0", "64x999", "999999999999x9"])
def test_a_second_pass_that_cannot_be_is_named(size: str) -> None:
    reading = read(f"a\n{SETTINGS}, Denoising strength: 0.5, Hires resize: {size}")
    assert reading.recipe.upscale is None
    assert any(each.startswith(f"Hires resize: {size} (") for each in reading.ignored)


@pytest.mark.parametrize(
    ("size", "more", "said"),
    [
        (
            "1024x1024",
            "Hires resize: 768x768",
            "Hires resize: 768x768 (it must be between 1 and 8)",
        ),
        ("1x1", "First pass size: 0x0", "Size: 1x1 (it must be between 1 and 8)"),
    ],
)
def test_a_second_pass_that_makes_smaller_is_named_and_the_rest_is_read(
    size: str, more: str, said: str
) -> None:
    line = SETTINGS.replace("512x768", size)
    reading = read(f"a\n{line}, Denoising strength: 0.5, {more}")
    assert said in reading.ignored
    assert reading.values["steps"] == 24


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "Variation seed: 3, Variation seed strength: 1.5",
            "Variation seed strength: 1.5 (it must be between 0 and 1)",
        ),
        (
            "Variation seed: x, Variation seed strength: 0.5",
            f"Variation seed: x (it must be {SEEDS})",
        ),
        (
            "Denoising strength: 1.5, Hires upscale: 2",
            "Denoising strength: 1.5 (it must be between 0.01 and 1)",
        ),
        (
            "Denoising strength: 1.5, First pass size: 256x384",
            "Denoising strength: 1.5 (it must be between 0.01 and 1)",
        ),
        (
            "Denoising strength: 0.5, Hires upscale: 9",
            "Hires upscale: 9 (it must be between 1 and 8)",
        ),
    ],
)
def test_the_setting_that_is_at_fault_is_named(more: str, said: str) -> None:
    assert said in read(f"a\n{SETTINGS}, {more}").ignored


def test_lines_behind_the_settings_are_what_the_prompt_was_made_from() -> None:
    reading = read(f"a hut\n{SETTINGS}\nTemplate: a {{house|hut}}\nNegative Template: fog")
    assert reading.values["prompt"] == "a hut"
    assert reading.ignored == (
        "Template: a {house|hut}\nNegative Template: fog (the prompt was made from it)",
    )


def test_json_among_the_settings_does_not_fall_into_pieces() -> None:
    hashes = 'Hashes: {"model": "0123456789", "lora:ink": "abcdef0123"}'
    reading = read(f"a <lora:ink:0.6>\n{SETTINGS}, {hashes}, Clip skip: 2")
    assert reading.ignored == ()
    assert reading.values["clip_skip"] == 2


def test_what_a_program_reads_in_prompts_is_named_where_marble_draws_it() -> None:
    said = others.NOVELAI | {"prompt": "a {hut} in 1.2::fog:: [sun]"}
    reading = read_recipe(png({"Comment": json.dumps(said)}))
    assert "{hut}, 1.2::, ::, [sun] (" in reading.ignored[0].replace("1.2::, [", "1.2::, ::, [")
    invoked = json.loads(TEXTS["InvokeAI"]["invokeai_metadata"]) | {"positive_prompt": "a hut++"}
    reading = read_recipe(png(as_json("invokeai_metadata", **invoked)))
    assert any("t++ (drawn as words" in each for each in reading.ignored)


@pytest.mark.parametrize(
    ("sampler", "schedule"), [("euler_a", "normal"), ("euler_a karras", "karras")]
)
def test_stable_diffusion_cpp_says_no_schedule_but_another_than_the_plain_one(
    sampler: str, schedule: str
) -> None:
    line = TEXTS["stable-diffusion.cpp"]["parameters"].replace("euler_a karras", sampler)
    assert read(line).values["schedule"] == schedule
    told = read(line.replace("CFG scale: 6.000000", "CFG scale: 1.000000")).values
    assert (told["guidance_scale"], told["negative_prompt"]) == (3.5, "")  # FLUX's own


def test_what_is_said_nowhere_is_not_said_to_stand_there() -> None:
    where = read(f"a\n{SETTINGS}, Hires resize: 1024x0, Denoising strength: 0.5").where
    assert where["schedule"] == "Sampler"
    assert where["upscale"] == "Hires resize"
    assert "noise" not in read("a\n" + SETTINGS.replace(", RNG: CPU", "")).where
    where = read(f"a\n{SETTINGS}, Schedule type: Karras, Distilled CFG Scale: 3.5").where
    assert (where["schedule"], where["guidance_scale"]) == ("Schedule type", "Distilled CFG Scale")


def test_what_is_left_over_of_a_programs_values_is_shown() -> None:
    assert read_recipe(png(TEXTS["SwarmUI"])).ignored == ()
    drawn = read_recipe(png(TEXTS["Draw Things"])).ignored
    assert drawn == ("seed_mode: Scale Alike", "guidanceembed: 4.5")
    assert "styles: ['Fooocus V2']" in read_recipe(png(TEXTS["Fooocus"])).ignored
    said = others.NOVELAI | {"sm": True, "strength": 0.7}
    ignored = read_recipe(png({"Comment": json.dumps(said)})).ignored
    assert {"sm: True", "strength: 0.7"} <= set(ignored)
    many = {f"key {at}": at + 1 for at in range(30)}
    *shown, rest = read_recipe(png({"Comment": json.dumps(others.NOVELAI | many)})).ignored
    assert shown == [f"key_{at}: {at + 1}" for at in range(24)]
    assert rest == "…"


def test_marbles_own_recipe_says_all_that_it_is() -> None:
    recipe = make_recipe(loras=(Lora(name="ink"),), upscale=Upscale(factor=2))
    reading = read_recipe(png_with(marble=json.dumps(recipe.to_dict())))
    assert reading.recipe == recipe
    assert reading.missing == ()
    said = recipe.to_dict()
    assert all(said[name] == value for name, value in reading.to_dict().items())


def test_hostile_texts_of_all_programs_are_read_at_once() -> None:
    many = 40_000
    deep = {str(at): {"class_type": "X", "inputs": {"positive": [str(at + 1), 0]}}
            for at in range(many)}  # fmt: skip
    began = time.process_time()
    for texts in (
        {"parameters": f"a <lora:{'a:' * many}>\n{SETTINGS}"},
        {"parameters": f"a\n{SETTINGS}, Version: f{'2' * 95_000}"},
        {"parameters": "a\nSteps: 1, " + 'ab: ["' + "x: [" * many},
        {"Dream": '"' + "\\a" * many},
        {"Dream": '"a"' + " -s 1" * many},
        {"Dream": '"a" -s' + " 1" * 10 * many},
        as_json("parameters", sui_image_params={"prompt": "<segment:" * many}),
        {"XML:com.adobe.xmp": "<exif:UserComment>" + "<rdf:li " * many},
        as_json("Comment", uc="{" * many, prompt="[" * many, scale=1, sampler="a", steps=2),
        as_json("prompt", **deep),
        as_json(
            "workflow",
            nodes=[{"id": ":" * 1_000 + str(at), "type": "X"} for at in range(1_000)],
            links=[],
        ),
        {"marble": '{"version": 3, "prompt": ' + '"seed": ' * many},
    ):
        with suppress(UserError):
            read_recipe(png(texts))
    assert time.process_time() - began < 20


def test_more_parts_than_a_recipe_takes_are_counted() -> None:
    many = (Patch(kind="perturbed_attention", numbers=(3.0,)),) * 9
    assert Reading.of("x", {"patches": many}, {}).ignored == ("patches: 9 (it must be 8 at most)",)
