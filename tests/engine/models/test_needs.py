"""Which files a recipe needs."""

from engine.models.needs import needs_of
from engine.recipe.parts import Control, Lora, Upscale
from tests.factories import make_recipe


def test_a_recipe_needs_its_model_and_every_file_beside_it() -> None:
    recipe = make_recipe(
        checkpoint="sdxl",
        refiner="polish",
        loras=(Lora(name="detail"),),
        controls=(Control(model="canny", image="0" * 64),),
        vae="clear",
        upscale=Upscale(by="4x"),
    )
    assert needs_of(recipe) == {
        *("checkpoint sdxl", "checkpoint polish", "LoRA detail", "control model canny"),
        *("VAE clear", "upscaler 4x"),
    }


def test_upscaling_by_lanczos_needs_no_file() -> None:
    recipe = make_recipe(checkpoint="sdxl", upscale=Upscale(by="lanczos"))
    assert needs_of(recipe) == {"checkpoint sdxl"}
