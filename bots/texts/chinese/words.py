"""Messages in Chinese."""

from collections.abc import Mapping
from typing import ClassVar

from bots.texts.chinese.commands import COMMANDS
from bots.texts.chinese.sentences import SENTENCES
from bots.texts.words import Words
from engine.events import Stage


class Chinese(Words):
    """Every message in Chinese."""

    __slots__ = ()

    language = "zh"
    sentences = SENTENCES
    commands = COMMANDS

    # How long things take
    seconds = "{n} 秒"
    minutes = "{n} 分钟"
    hours = "{n} 小时"

    # A job on its way
    submitted = "排队中 …"
    inline_waiting = "{prompt}\n\n排队中 …"
    inline_offer = "画这个"
    inline_hint = "描述一张图片"
    inline_silent = (
        "这里没有在画图：Telegram 没有把这条消息告知 Marble。"
        "Marble 所有者可以在 @BotFather 打开 inline feedback。"
    )
    next_in_line = "下一个就是你"
    nth_in_line = "排在第 {place} 位"
    with_eta = "{line}，约 {time}"
    paused = "{line}，已暂停：{reason}"
    stages: ClassVar[Mapping[Stage, str]] = {
        Stage.LOAD: "正在载入模型",
        Stage.ENCODE: "正在解析提示词",
        Stage.DENOISE: "正在绘制",
        Stage.UPSCALE: "正在放大",
        Stage.DECODE: "正在生成图片",
    }
    progress = "{stage} {bar} {step}/{total}"
    cancelled = "已取消。"
    failed = "这张图没能画出来。{reason}"
    lost_picture = "图片文件已丢失；重画即可再次生成。"
    not_shown = "图片已画好并保存，但无法在此显示；用 /show {name} 查看。"
    shrunk = "受此处大小限制，显示的是缩小版；点 ✉️ 可私信获取原图。"
    shrunk_everywhere = "受消息大小限制，这是缩小版；原图可向 Marble 所有者索取。"

    # A picture and its recipe
    alt_text = "生成的图片：{prompt}"
    alt_text_grid = "{count} 张生成图片的拼图，从左上角起编号：{prompt}"
    made_from = "源自 {parent}"
    recipe_title = "{name} 的配方"
    fields: ClassVar[Mapping[str, str]] = {
        "prompt": "提示词",
        "negative_prompt": "不要出现",
        "seed": "种子",
        "steps": "步数",
        "guidance_scale": "引导强度",
        "guidance_rescale": "引导回调",
        "width": "宽",
        "height": "高",
        "count": "张数",
        "picture": "第几张",
        "sampler": "采样器",
        "schedule": "噪声调度",
        "shift": "噪声偏移",
        "noise": "噪声来源",
        "ensd": "噪声种子偏移",
        "syntax": "提示词语法",
        "areas": "局部提示词",
        "checkpoint": "模型",
        "refiner": "第二个模型",
        "refiner_at": "接手位置（步数比例）",
        "refiner_by": "接手方式",
        "aesthetic_score": "美学分数",
        "negative_aesthetic_score": "反向美学分数",
        "vae": "VAE 模型",
        "clip_skip": "CLIP 跳过层",
        "loras": "LoRA",
        "controls": "ControlNet",
        "strength": "重绘强度",
        "image": "起始图",
        "fit": "适配方式",
        "mask": "蒙版",
        "references": "所编辑的图",
        "margins": "边距",
        "variations": "变体",
        "patches": "对网络的改动",
        "upscale": "放大",
        "style": "风格",
        "parent": "源自",
        "match": "与提示词的符合程度",
        # What moderators type
        "A place": "地点",
        "A person": "用户",
        "A rule": "规则",
        "The reason": "原因",
        "hours": "小时数",
    }
    statuses: ClassVar[Mapping[str, str]] = {
        "queued": "排队中",
        "running": "绘制中",
        "rendered": "已画好",
        "delivered": "已画好",
        "failed": "失败",
        "cancelled": "已取消",
    }

    # Buttons and menus
    upscale = "放大"
    vary_subtle = "微调变体"
    vary_strong = "大幅变体"
    zoom_out = "拉远"
    edit = "编辑"
    region = "局部重画"
    making_of = "怎样画成"
    change = "改配方"
    recipe = "配方"
    original = "原图"
    delete = "删除"
    rerun = "重画"
    same_seed = "同一种子"
    new_seed = "新种子"
    favourite = "收藏"
    older = "更早"
    only_favourites = "收藏"
    everything = "全部"
    cancel = "取消"

    # Forms
    imagine_title = "画一张图"
    form_hint = "后面可写选项，例如 --steps 30 --no 雾"
    form_model = "模型"
    form_style = "风格"
    form_shape = "形状"
    form_image = "起始图"
    form_picture = "文字涉及的另一张图"
    form_usual = "照常"
    form_more = "还有 {count} 个：在文字中写 --{option} 名字"
    form_strengths: ClassVar[Mapping[str, str]] = {
        "0.3": "0.3：一点",
        "0.5": "0.5：布局不变",
        "0.7": "0.7：大致形状不变",
        "0.9": "0.9：几乎全部",
    }

    # Changing a recipe
    change_title = "修改配方"
    change_prompt = "画面内容和选项"
    change_hint = "种子相同则构图不变，--seed new 换一个"

    # Editing a picture by words
    edit_title = "编辑图片"
    edit_prompt = "要改什么"
    edit_prompt_hint = "例如：改成青铜，姿势不变"
    edit_question = "要改 {name} 的什么？用文字回复，例如：改成青铜。"
    edit_which = "请指明哪张图：填写 `picture`（名字如 12.3），或附上 `image`。"
    describe_which = "请给一张图：附上 `image`，或在 `picture` 中填写名字，例如 12.3。"
    describe_how = (
        "请指明要描述哪张图：用 `/describe` 回复它，发图时在说明里写 `/describe`，"
        "或写出它的名字：`/describe 12.3`。"
    )
    region_open = "打开画笔"
    region_how = "涂抹要重画的地方，或把画布拉大。此链接十分钟内可用一次。"
    region_private = "请在与我的私聊中涂抹；只有你能打开。"
    described = "用文字描述；按编号即可画出："
    blend_which = (
        "请给两到五张图：附上 `image`、`image2` 等，或在 `pictures` 中填写名字，例如 12.3 14。"
    )
    blend_how = (
        "请指明要混合的两到五张图：私聊里发一组图并在说明里写 `/blend`，"
        "用另一张图和 `/blend` 回复一张图，"
        "或写出名字：`/blend 12.3 14`。后面的文字说明混合后的图是什么。"
    )
    edit_how = (
        "请写明要改什么、改哪张图：用 `/edit 改成青铜` 回复那张图，或写出它的名字：`/edit 12.3 改成"
        "青铜`。"
    )

    # Starting from a picture
    no_picture = "那条消息里没有图片。"
    result_how = (
        "`--result 节点` 在 ComfyUI 图的多个结果中选一个：请与以文件发送的图片一起写，"
        "不加其他文字。"
    )
    choose_result = "画另一个结果"
    results_gone = "这个选择已失效；请再用一次菜单“配方”。"
    mask_alone = "蒙版需要起始图：请同时提供起始图。"
    slow_picture = "那张图下载太慢；请用 `/imagine` 的 `image`。"
    start_title = "从这张图开始"
    start_prompt = "画面内容"
    start_strength = "重绘程度（0–1）"

    # Answers
    deleted = "已删除。"
    cancel_asked = "任务 {job} 已取消。"
    favourite_added = "{name} 已加入收藏。"
    favourite_removed = "{name} 已移出收藏。"
    sent_by_dm = "已私信发给你。"
    sent_anew = "图片已作为新消息发出。"
    dm_closed = "我无法给你发私信；请允许来自此服务器的私信后再试。"
    pick = "选哪一张？"
    nothing_yet = "还没有图片。描述一张，它就会出现在这里。"
    nothing_found = "你的提示词中没有这些词。"
    no_favourites = "还没有收藏。图片下方的“收藏”可把它加进来。"
    history_title = "你的图片"
    alike_title = "与之最相似的你的图片"
    favourites_title = "你的收藏"
    settings_title = "你的设置"
    settings_empty = "尚未设置；使用各模型的默认值。"
    settings_saved = "已保存。没有另行指定时就使用这些值。"
    settings_reset = "你的设置已清空。"
    models_title = "模型"
    workflows_title = "工作流"
    workflow_line = "{name}：{inputs}"
    model_line = "{name}（{family}，{width}×{height}，{steps} 步）"
    model_edits = "{line}，可按文字编辑图片"
    model_fixed = "{line}，{option} 固定为 {value}"
    model_lacks = "{line}，没有{options}"
    queue_title = "队列"
    queue_empty = "没有正在绘制或等待的任务。"
    queue_running = "▶ {job}，{who}：{what}"
    queue_waiting = "{place}. {job}，{who}：{what}"
    and_more = "… 另有 {count} 个"
    stats_title = "统计"
    stats_yours = "你：{jobs} 个任务，{pictures} 张图片，{favourites} 个收藏。"
    stats_here = "这里：{people} 人的 {jobs} 个任务，{pictures} 张图片。"
    export_ready = "保存的关于你的全部数据：{pictures} 张图片和你的历史。"
    export_without = "另有 {count} 张图因安全检查不能在此处显示而未附上；可向 Marble 所有者索取。"
    export_too_large = (
        "另有 {count} 个文件因超过这里单条消息的大小而未附上；可向 Marble 所有者索取。"
    )
    export_part = "第 {part} 部分，共 {count} 部分。"
    forget_question = "这将永久删除你的任务、图片、起始图、收藏和设置。确定吗？"
    forget_confirm = "全部删除"
    forgotten = "已删除 {jobs} 个任务和 {files} 个图片文件。聊天中的消息仍在原处，请自行删除。"
    forget_nothing = "没有保存任何关于你的数据。"

    # More answers
    newest = "最新"
    open_one = "打开一张"
    you = "你"
    somebody = "某人"
    nothing_to_cancel = "你没有等待或绘制中的任务。"
    rules_title = "{where}的规则"
    rules_open = "允许生成图片：{open}"
    rule_aside = "（管理员设定的 {asked} 超出 Marble 所有者允许的范围）"
    rule_from = "（由{where}设定）"
    rules_how = "范围写作 1-30，列表用逗号分隔；“none” 删除规则。只能比 Marble 所有者的规定更严格。"
    telegram_rules_how = (
        "用 `/rules --steps 1-30 --models starter --open no` 修改；`none` 删除一条规则；在话题中写 "
        "`/rules group …` 则用于整个群组。只能比 Marble 所有者的规定更严格。可用：{names}"
    )
    rules_in_groups = "规则按群组设置：请在群组里发送此命令。全局规则只能由 Marble 所有者设置。"
    rule_and_value = "请同时填写“其他规则”和“值”。"
    rules: ClassVar[Mapping[str, str]] = {
        "per_minute": "每人每分钟的任务数",
        "place_per_minute": "所有人每分钟的任务数",
        "daily": "每人每天的百万像素步",
        "waiting": "每人等待的任务数",
        "place_waiting": "所有人等待的任务数",
        "running": "每人同时绘制的任务",
        "place_running": "所有人同时绘制的任务",
        "blocked": "禁用词",
        "models": "可用的模型",
        "workflows": "可用的工作流",
        "keep_days": "图片保存的天数",
        "safety": "不安全的图片",
        "default_count": "没有说明张数时一次画几张",
        "pixels": "成图的像素数",
        "images": "起始图片数",
        "loras": "LoRA 数量",
        "controls": "ControlNet 数量",
        "lora_weight": "LoRA 权重",
        "control_strength": "ControlNet 强度",
        "lora": "可用的 LoRA",
        "control": "可用的 ControlNet",
        "vae": "可用的 VAE",
        "upscaler": "可用的放大器",
        "upscale": "放大倍数",
        "schedule": "可用的噪声调度",
        "sampler": "可用的采样器",
    }
    this_channel = "此频道"
    this_thread = "此子区"
    this_server = "此服务器"
    this_group = "此群组"
    this_topic = "此话题"
    channel_of_thread = "此子区所属的频道"
    yes = "是"
    no = "否"
    queue_paused = "队列已暂停：{reason}"
    queue_resumed = "队列已恢复。"
    queue_not_paused = "队列没有暂停。"
    settings_how = "用 `/settings --steps 30 --size 512x768` 修改，用 `/settings reset` 清空。"
    mydata_how = "`/mydata export` 取得保存的关于你的全部数据，`/mydata delete` 将其删除。"
    no_web = "此处的 Marble 没有网页：所有者尚未设置。"
    web_link = "此链接让你登录 Marble 的网页，十分钟内可用一次：{url}"
    web_open = "在此打开"
    web_browser = "在浏览器中打开"
    web_ended = "已从网页退出：结束了 {n} 个会话。尚未使用的链接也已失效。"
    styles_title = "此处的风格"
    styles_empty = "此处还没有风格；管理员可用 /style add 添加。"
    style_line = "{name}：{prompt}"
    style_line_without = "{name}：{prompt}（不要：{negative}）"
    style_kept = "风格 {name} 已保存；在提示词中加上 `--style {name}` 即可使用。"
    style_removed = "风格 {name} 已删除；用它画的图不会改变。"
    style_how = (
        "用 `/style add noir 黑色电影，强烈阴影 --no 彩色` 添加，用 `/style remove noir` 删除，用 "
        "`--style noir` 选用。"
    )
    ban_whom = "请回复该成员的一条消息，或写出其 ID，例如 telegram:123456。"

    # Refusals
    your_words = "你写的内容，可以复制："
    unknown_message = "那条消息里没有 Marble 画的图片。"
    unknown_form = "这个表单已失效：请在图片上重新选择“用作起始图”。"
    not_yet = "那张图还没有画好。"
    busy = "现在太忙，请求没有排队；请稍后再试。"
    disk_full = "Marble 的磁盘已满，什么都无法保存；需由 Marble 所有者腾出空间。"
    pictures_out = "Marble 现在无法读取图片，请稍后再试；Marble 所有者可在日志中查看原因。"
    database_out = "Marble 的数据库暂时无法使用，什么都无法保存；Marble 所有者可在日志中查看原因。"
    start_first = "请先与我开始私聊：图片也会发到那里。"
    guest_picture = "在我不是成员的聊天中，我只按文字画图，不使用图片；请改为把图片发到这里。"
    put_off = "{why}你的消息没有丢失，稍后会回复。"
    album = "我一次只能用一张图：请回复相册中的那一张，并写明要画什么。"
    missing_permission = "我需要此频道的“{permission}”权限才能回复；请管理员授予。"
    few_further = (
        "在只有你自己安装了 Marble 的地方，Discord 最多让我为一次请求显示 {most} 个任务；"
        "请减少花括号里的选择，或把其余的分开请求。"
    )
    moved = "这是在 {channel} 要求的，我已无法在那里显示。"
    moved_permission = "这是在 {channel} 要求的，我在那里需要权限“{permission}”；管理员可以授予。"
    permissions: ClassVar[Mapping[str, str]] = {
        "view_channel": "查看频道",
        "send_messages": "发送消息",
        "send_messages_in_threads": "在子区内发送消息",
        "attach_files": "添加文件",
    }
    moderators_only = "只有管理员可以这样做。"
    not_of_server = "这需要在整个服务器管理消息的权限，仅有本频道权限不够。"
    photo_too_large = "该文件超过 Telegram 允许机器人下载的 20 MB；请以照片发送。"
    photo_question = "想用这张图画什么？请回复一段描述。"
    not_a_picture = "我无法使用这个文件。请发送照片，或 PNG、JPEG、WebP 文件。"
    not_honoured = "正在重画。以下内容无法使用：{what}。"
    ignored = "以下内容无法使用：{what}。"
    missing = "没有说明：{what}。"
    not_drawn = "无法绘制：{why}"
    starts_from_others = "该配方还需要另一张图，文件里没有；请在 /imagine 的 `image` 中附上。"
    restarting = "Marble 正在重启，请一分钟后再试。"
    empty_prompt = "请描述一张图片，例如：一位大理石学者。"
    unexpected = "出了问题，请重试；Marble 所有者可在日志中查看原因。"
    ask_again = "Marble 在回复之前重启了。请重试。"

    # Moderators
    ban_done = "{who} 不能再在这里生成图片：{reason}"
    ban_lifted = "{who} 又可以在这里生成图片了。"
    no_ban = "{who} 在这里没有被封禁。"
    acts: ClassVar[Mapping[str, str]] = {
        "ban": "封禁",
        "lift ban": "解除封禁",
        "pause": "暂停",
        "resume": "恢复",
        "rules": "Marble 所有者的规则",
        "policy": "规则",
        "open": "开放",
        "style": "保存风格",
        "remove style": "删除风格",
        "cancel": "取消任务",
        "ahead": "提前任务",
        "delete": "删除图片",
        "missing": "无法显示图片，频道",
    }
    details: ClassVar[Mapping[str, str]] = {
        "open": "允许生成图片",
        "reason": "原因",
        "until": "截止",
        "name": "名称",
        "job": "任务",
        "no": "不要出现",
        "permission": "缺少权限",
    }
    acts_title = "管理员的操作"
    acts_empty = "还没有。"

    # Long texts
    help = (
        "**描述一张图片：** `/imagine 一位拿着书的大理石学者`\n"
        "图片是一步步画出来的：起初全是噪声，每一步去掉一些。\n"
        "\n"
        "**选项** `steps` 步数越多越精细，也越慢 · `guidance` 贴合提示词的程度 · `negative` 不要出"
        "现的内容 · `count` 一次多张 · `seed` 决定噪声的数字：同样的种子、提示词和选项，永远得到同"
        "一张图。\n"
        "\n"
        "**尺寸与风格** `size` 可填 768x512 或 3:2 这样的比例 · `style` 加上此服务器保存的风格文字"
        "（`/style list`）· `model` 和 `lora` 选择模型和 LoRA。\n"
        "选项也可以写在提示词中：`--seed 7 --size 3:2 --no 雾`。\n"
        "\n"
        "**按钮** U1–U4 放大拼图中的一张，V1–V4 画出相似的，"
        "1️⃣–4️⃣ 单独显示一张，🎲 全部重画；"
        "单张图下方：变体、放大、拉远、向一侧延伸、按文字编辑、改配方。"
        "多年后仍然有效。\n"
        "\n"
        "**从图片开始** 给 `/imagine` 附上 `image`（`strength` 是重绘的程度），或右键任意图片 → 应"
        "用 → 用作起始图。`/edit` 按文字修改图片，例如：改成青铜。"
        "`/blend` 把两到五张图混合成一张。`/describe` 用文字描述一张图，"
        "`/making_of` 显示它是怎样画成的。\n"
        "\n"
        "**给图片加表情** 🌱 用原种子重画 · 🎲 换新种子重画 · ✉️ 私信配方和原图 · ⭐ 收藏 · ❌ 取消"
        "或删除 · 1️⃣–4️⃣ 从拼图中选一张\n"
        "\n"
        "**更多** `/history` · `/show 12.3` 再次显示图片 · `/settings` 你的默认选项 · `/queue` · "
        "`/cancel` · `/models` · `/stats` · `/privacy` · `/mydata` · `/web` 在浏览器中看你的图片"
    )
    telegram_help = (
        "**描述一张图片：** 直接发送提示词，例如：一位拿着书的大理石学者\n"
        "在群组里，请在提示词前加上 `/imagine`。\n"
        "\n"
        "**选项** 可写在提示词中的任何位置：`--steps` 步数越多越精细，也越慢 · `--guidance` 贴合提"
        "示词的程度 · `--no` 不要出现的内容 · `--count` 一次画几张 · `--size 512x768` · `--seed` 决"
        "定噪声的数字：同样的种子、提示词和选项，永远得到同一张图。第二行也表示不要出现的内容。\n"
        "\n"
        "`--style` 加上群组保存的风格文字；`/style` 列出它们。管理员用 `/rules` 规定群组里可以画什"
        "么。\n"
        "\n"
        "**按钮** 图片下方的按钮可以重画、取得原文件或查看配方。用新的提示词回复一张图，就会按它重"
        "画；用 `/edit 改成青铜` 回复，就会按文字修改它。"
        "`/blend` 把两到五张图混合成一张。`/web` 在浏览器中看你的图片。"
    )
    privacy = (
        "**保存的内容：** 你请求的配方及其图片、你提供的起始图、用于搜索的图片内容数字、"
        "请求的时间和地点、你的收藏和设置、"
        "你为大家做的风格、使用网页的时间、封禁，以及你作为管理员的操作，都保存在 Marble 所有者那"
        "里。\n"
        "**不保存：** 其他消息。Marble 只读取发给它的内容：命令和菜单、以它的名字开头的消息、按钮、"
        "对它的图片的表情和回复，以及你私下写给它的内容。\n"
        "**你可以：** 用 `/mydata export` 取得全部内容，用 `/mydata delete` 永久删除。封禁会保留，"
        "以便继续有效；风格和你作为管理员的操作会保留，但不留你的名字。备份在被新的替换之前，仍保留"
        "其中的内容。"
    )
