"""What people read on the page of a making-of, in English; `bots.texts.chinese.making_of` has
Chinese.

The same holds as for `bots.texts.words.Words`; what both need is there.
"""


class MakingOfWords:
    """Every message of the page in English; a class of another language overrides them all."""

    __slots__ = ()

    language = "en"  # its tag

    title = "How {name} was made"
    same = "Drawn again from its recipe, the file is the same, byte for byte."
    other = (
        "Drawn again from its recipe, the file is not the same: the first one was drawn by another "
        "device, version or set of files. What you see here belongs to the new drawing."
    )
    unknown = "Whether the file is the same cannot be told: the first one cannot be read."

    brief = "The brief: words become numbers"
    word = "word"
    tokens = "tokens and their numbers"
    weight = "weight"
    no_tokens = "This model's text encoder reads the whole text at once; its tokens are not shown."
    left_out = "{count} more words follow."
    windows = "The text was read in {count} windows of 77 tokens each."
    pieces = "Words of several tokens are not in the tokenizer's vocabulary and are spelled."
    spelled = "Not in the tokenizer's vocabulary, so spelled: {words}."
    cut = "Cut between two windows: {words}."
    style = "The words of the style “{style}” are part of the text."
    lora = "LoRA {name}, weight {weight}."
    lora_layers = "LoRAs changed {count} layers of {part}."

    noise = "The noise and its steps"
    denoising = "{model}, latents of {width}×{height}, {steps} steps:"
    axes = "From left to right the steps, upwards the noise (log σ); the last step ends at σ = 0."

    steps = "From noise to figure"
    guesses = "After each step the network guesses the finished picture; the VAE shows the guess."
    start = "noise"
    step = "step {step}, σ {sigma}"
    unseen = "Of passes that go over tiles, or are very short, no guesses are kept."

    heat = "Which word made what"
    method = (
        "Light is where a word was read most, dark where least, with the greatest share of "
        "attention: mean of the cross-attention over heads, steps and {layers} layers of one size, "
        "of the prompt's rows alone (Tang et al. 2022, “What the DAAM”, arXiv:2210.04885)."
    )
    no_heat = (
        "Not for this family: its network lets words and picture attend to each other jointly, or "
        "reads no words, so no map of single words can be shown."
    )

    latents = "What the VAE was given"
    channels = "The {count} channels of the finished latents, from the least value to the greatest:"

    whole_page = "The whole page: {address}"
    open_page = "How it was made: the page"

    times = "Time"
    other_time = "Looking on took time, too: guesses and maps are not counted as decoding."
