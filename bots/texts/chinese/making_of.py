"""Messages of a making-of's page in Chinese."""

from bots.texts.making_of import MakingOfWords


class ChineseMakingOf(MakingOfWords):
    """Every message of the page in Chinese."""

    __slots__ = ()

    language = "zh"

    title = "{name} 是怎样画成的"
    same = "按配方重画一遍，文件逐字节相同。"
    other = (
        "按配方重画一遍，文件并不相同：第一次是由别的设备、版本或文件画的。这里展示的是新画的过程。"
    )
    unknown = "第一次的文件无法读取，不能判断重画的文件是否相同。"

    brief = "提示词：文字变成数字"
    word = "词"
    tokens = "词元及其编号"
    weight = "权重"
    no_tokens = "这个模型的文本编码器一次读完整段文字，不逐一列出词元。"
    left_out = "后面还有 {count} 个词。"
    windows = "文字分成 {count} 个窗口读入，每个 77 个词元。"
    pieces = "由多个词元组成的词不在分词器的词表里，是拼出来的。"
    spelled = "不在分词器的词表里、拼出来的词：{words}。"
    cut = "被两个窗口切开的词：{words}。"
    style = "文字中包含风格“{style}”的词。"
    lora = "LoRA {name}，权重 {weight}。"
    lora_layers = "LoRA 改动了 {part} 的 {count} 层。"

    noise = "噪声与步骤"
    denoising = "{model}，潜变量 {width}×{height}，{steps} 步："
    axes = "从左到右是步骤，向上是噪声（log σ）；最后一步到 σ = 0。"

    steps = "从噪声到图像"
    guesses = "每一步之后，网络都会猜测完成的图片；这里由 VAE 显示出来。"
    start = "噪声"
    step = "第 {step} 步，σ {sigma}"
    unseen = "分块画的或很短的步骤段没有保留猜测。"

    heat = "哪个词画出了什么"
    method = (
        "亮处是读这个词最多的地方，暗处最少，并标出注意力的最大份额：只取提示词的行，对各个注意力头、"
        "各步和同一尺寸的 {layers} 层的交叉注意力取平均（Tang 等，2022，“What the DAAM”，"
        "arXiv:2210.04885）。"
    )
    no_heat = (
        "这一类模型没有：它的网络让文字和图像共同参与注意力，或者不读文字，所以无法显示单个词的图。"
    )

    latents = "交给 VAE 的内容"
    channels = "完成的潜变量的 {count} 个通道，从最小值到最大值："

    whole_page = "完整页面：{address}"
    open_page = "怎样画成：完整页面"

    times = "用时"
    other_time = "旁观也要花时间：猜测图和热力图不计入解码。"
