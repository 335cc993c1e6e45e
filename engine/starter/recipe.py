"""The one recipe of the starter model: every number that decides its weights."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RenderRecipe:
    """Say how many pictures are rendered, and from which seed."""

    seed: int = 2028
    pictures: int = 24_000
    held_out: int = 512  # the last pictures: never trained on, for figures
    workers: int = 2


@dataclass(frozen=True, kw_only=True)
class TextRecipe:
    """Size and training of the tokenizer and the text encoder."""

    seed: int = 1
    corpus: int = 60_000  # captions the byte pairs are counted on
    vocabulary: int = 2_048
    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int = 384
    positions: int = 77
    short: int = 40  # tokens of most batches, which hold every caption
    long_share: float = 0.2  # of batches with all positions, for the padding's states
    captions: int = 60_000
    steps: int = 1_500
    batch: int = 64
    rate: float = 2e-3


@dataclass(frozen=True, kw_only=True)
class VaeRecipe:
    """Size and training of the picture codec. One step is one batch."""

    seed: int = 2
    channels: tuple[int, ...] = (16, 32, 64, 96)
    latent_channels: int = 8
    groups: int = 8
    crop: int = 64  # px
    crop_steps: int = 3_200
    crop_batch: int = 8
    steps: int = 4_200  # crops first, whole pictures for the rest
    batch: int = 4
    constant: float = 0.39  # share of the steps at full rate
    polish_steps: int = 1_600  # decoder alone on whole pictures, encoder frozen
    polish_constant: float = 0.5
    polish_batch: int = 4
    polish_rate: float = 1e-3
    rate: float = 3e-3
    floor: float = 0.02  # of the rate, at the end
    mse: float = 0.5
    gradient: float = 0.5
    kl: float = 2e-5
    noise: float = 0.05  # of the latents' standard deviation, added before decoding


@dataclass(frozen=True, kw_only=True)
class UnetRecipe:
    """Size and training of the denoiser. One step is one batch."""

    seed: int = 5
    pictures: int = 23_000  # latents trained on
    channels: tuple[int, ...] = (64, 128, 128)
    heads: tuple[int, ...] = (2, 4, 4)
    groups: int = 16
    steps: int = 5_200
    constant: float = 0.4  # share of the steps at full rate; a cosine to the floor after
    batch: int = 32
    rate: float = 1.5e-3
    floor: float = 0.01
    empty: float = 0.12  # captions replaced by the empty one
    early: float = 0.6  # share of timesteps drawn below `early_below`
    early_below: int = 600
    snr: float = 6.0  # loss weight: min(1, snr / (SNR + 1))
    average: float = 0.998


@dataclass(frozen=True, kw_only=True)
class TowerRecipe:
    """Size and training of the image tower and of both projections. One step is one batch."""

    seed: int = 7
    pictures: int = 8_500  # the first of those rendered
    vector: int = 64  # numbers of a vector
    width: int = 128
    layers: int = 3
    heads: int = 4
    hidden: int = 384
    small: int = 64  # px that pictures are shrunk to
    side: int = 60  # px that are cut out of them
    patch: int = 12  # px
    loss: str = "sigmoid"
    steps: int = 700
    batch: int = 128
    rate: float = 2e-3
    constant: float = 0.3  # share of the steps at full rate
    average: float = 0.99
    full: float = 0.5  # share of captions that name everything
    blurred: float = 0.4  # share of pictures
    noise: float = 0.1  # largest deviation, of a range of 2
    light: float = 0.06  # largest change of brightness


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything `python -m engine.starter.train` needs to make the weights again."""

    render: RenderRecipe = field(default_factory=RenderRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    vae: VaeRecipe = field(default_factory=VaeRecipe)
    unet: UnetRecipe = field(default_factory=UnetRecipe)
    tower: TowerRecipe = field(default_factory=TowerRecipe)
    picture_size: int = 128  # px
    half: bool = True  # bf16 products: 1.5 times faster on a CPU with AVX512-bf16 or on a GPU
    checkpoint_seconds: float = 120.0


RECIPE = Recipe()
