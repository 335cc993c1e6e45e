"""Training of tokenizer and text encoder: the encoder learns which attributes a text names.

It is frozen afterwards. At the end mark of a caption (and at the padding behind it, which the
denoiser sees too) it must know every attribute, or that it was not named.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from engine.starter.captions import ATTRIBUTES, NOTHING, Caption, draw_caption
from engine.starter.form import new_text_encoder
from engine.starter.recipe import TextRecipe
from engine.starter.tokens import train_tokenizer
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw, Schedule, pick_device, train
from engine.starter.training.optim import Average, Optimisers
from engine.starter.world import GROUNDS, MATERIALS, OBJECTS, SUBJECTS, Spec, draw_spec

CHOICES = {"subject": SUBJECTS, "material": MATERIALS, "object": OBJECTS, "ground": GROUNDS}
_EMPTY = 0.03
_HELD_OUT = 1_024  # captions for the figure at the end
_SPREAD = 0.3  # deviation of the first embeddings; CLIP's 0.02 learns slowly at this width

# Ordinary words, so that what is not in the world does not fall into single letters.
_ORDINARY = (
    "hat crown robe wings plinth statue sculpture stone steel silver water fire tree forest "
    "mountain city snow rain sky man woman girl boy person figure wearing standing sitting red "
    "green yellow black white pink purple orange dog bird dragon castle house garden moon sun star "
    "light dark blurry bad ugly low quality text watermark car portrait old young big small "
    "小狗 房子 花园 月亮 太阳 星星 模糊 低质量 女孩 男孩 人 山 城市 雪 雨 天空 汽车 龙 鸟"
)


class Reader(nn.Module):
    """The text encoder with one linear head over all attributes."""

    def __init__(self, recipe: TextRecipe, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.encoder = new_text_encoder(recipe, tokenizer)
        for name, param in self.encoder.named_parameters():
            if "embedding" in name:
                nn.init.normal_(param, std=_SPREAD)
        self.sizes = [len(choices) + 1 for choices in CHOICES.values()]
        self.heads = nn.Linear(recipe.width, sum(self.sizes))

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Read `[n, 77]` ids; give logits `[n, 77, choices + 1]` for each attribute."""
        states = self.encoder(ids).last_hidden_state
        return tuple(self.heads(states).split(self.sizes, -1))


def train_text(recipe: TextRecipe, work: Path, log: Log) -> None:
    """Train tokenizer and text encoder and write them to the work folder."""
    rng = np.random.default_rng(recipe.seed)
    corpus = [_draw(rng)[1].text for _ in range(recipe.corpus)]
    tokenizer = train_tokenizer(corpus + _ORDINARY.split() * 40, recipe, work / "tokenizer")
    log.write(f"{len(tokenizer)} tokens")
    pairs = [_draw(rng) for _ in range(recipe.captions)]
    ids = to_ids(tokenizer, [caption.text for _, caption in pairs])
    answers = torch.tensor([_answer(spec, caption) for spec, caption in pairs])
    torch.manual_seed(recipe.seed)
    device = pick_device()
    reader = Reader(recipe, tokenizer).to(device)
    known = len(ids) - _HELD_OUT

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        chosen = torch.from_numpy(draw.numpy.integers(0, known, recipe.batch))
        length = recipe.positions if draw.numpy.random() < recipe.long_share else recipe.short
        batch, truth = ids[chosen, :length].to(device), answers[chosen].to(device)
        at_end = (batch == tokenizer.eos_token_id).float()
        weight = at_end / at_end.sum(1, keepdim=True)
        losses = [
            functional.cross_entropy(
                logits.transpose(1, 2), truth[:, i : i + 1].expand_as(batch), reduction="none"
            )
            for i, logits in enumerate(reader(batch))
        ]
        loss = (torch.stack(losses).sum(0) * weight).sum(1).mean()
        return loss, {"loss": loss.item()}

    train(
        reader,
        Optimisers(reader, ("encoder.embeddings", "heads")),
        Average(reader, 0.99),
        Schedule(rate=recipe.rate, floor=0.01, steps=recipe.steps, constant=0.3),
        step_loss,
        seed=recipe.seed,
        checkpoint=work / "text.pt",
        every_seconds=1e9,
        log=log,
    )
    shares = _accuracy(reader.cpu(), ids[known:], answers[known:], int(tokenizer.eos_token_id))
    log.write("held-out captions read: " + _percent(shares))
    reader.encoder.save_pretrained(work / "text_encoder")


def to_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Turn texts into ids `[n, 77]`, cut or padded as Stable Diffusion does."""
    batch = tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = batch.input_ids
    return ids


def _draw(rng: np.random.Generator) -> tuple[Spec, Caption]:
    spec = draw_spec(rng, held_out=rng.random() < 0.06)  # words are learnt for every pair
    return spec, NOTHING if rng.random() < _EMPTY else draw_caption(spec, rng)


def _answer(spec: Spec, caption: Caption) -> list[int]:
    """Number the attributes a caption names; the last number means "not named"."""
    return [
        CHOICES[name].index(getattr(spec, name)) if name in caption.named else len(CHOICES[name])
        for name in ATTRIBUTES
    ]


@torch.no_grad()
def _accuracy(reader: Reader, ids: Tensor, answers: Tensor, end: int) -> dict[str, float]:
    first_end = (ids == end).float().argmax(1)
    right = []
    for batch, truth, at in zip(
        torch.split(ids, 128), torch.split(answers, 128), torch.split(first_end, 128), strict=True
    ):
        rows = torch.arange(len(batch))
        said = [logits[rows, at].argmax(-1) for logits in reader(batch)]
        right.append(torch.stack(said, 1) == truth)
    shares = torch.cat(right).float().mean(0)
    return {name: float(share) for name, share in zip(ATTRIBUTES, shares, strict=True)}


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
