"""Names and descriptions of commands and of their options, by language.

Keys are commands (`imagine`), subcommands (`mydata export`), options of any command (`:prompt`) or
of one (`cancel:job`), and menus (`menu Recipe`). English names are the keys' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bots.requests.options import OPTIONS

DESCRIPTION: Final = 100  # characters, Discord's limit


@dataclass(frozen=True, slots=True)
class CommandText:
    """Hold names in other languages than English, and descriptions in every language."""

    name: Mapping[str, str]
    description: Mapping[str, str]


def _text(zh_name: str, en: str, zh: str) -> CommandText:
    return CommandText({"zh": zh_name}, {"en": en, "zh": zh})


# What options of the one table are called in Chinese.
_OPTION_NAMES: Final = {
    "negative": "不要",
    "seed": "种子",
    "steps": "步数",
    "guidance": "引导",
    "sampler": "采样器",
    "schedule": "调度",
    "size": "尺寸",
    "count": "张数",
    "model": "模型",
    "strength": "强度",
    "fit": "适配",
    "clip-skip": "clip层",
    "lora": "lora",
    "style": "风格",
    "rescale": "回调",
}


def _short(text: str) -> str:
    """Cut a description to what Discord takes, at its last comma or word."""
    return text if len(text) <= DESCRIPTION else f"{text[: DESCRIPTION - 1].rpartition(' ')[0]}…"


COMMANDS: Final[Mapping[str, CommandText]] = {
    "imagine": _text("绘图", "Draw what you describe", "画出你描述的内容"),
    ":prompt": _text("提示词", "what the picture shows", "画面内容"),
    "history": _text("历史", "Your latest pictures", "你最近的图片"),
    "history:search": _text("搜索", "only prompts with these words", "只看提示词含有这些字的"),
    "history:favourites": _text("收藏", "only what you marked with ⭐", "只看收藏的图片"),
    "show": _text("查看", "Show a picture again", "再次显示一张图"),
    ":picture": _text("图片", "12 for a job, 12.3 for a picture", "任务 12，或其第三张 12.3"),
    "settings": _text("设置", "Your default options", "你的默认选项"),
    "settings show": _text("查看", "Show your settings", "查看你的设置"),
    "settings set": _text("修改", "Change your settings", "修改你的设置"),
    "settings reset": _text("清空", "Clear your settings", "清空你的设置"),
    "queue": _text("队列", "Running and waiting jobs", "正在绘制和等待的任务"),
    "cancel": _text("取消", "Stop one of your jobs", "停止你的一个任务"),
    "cancel:job": _text("任务", "which one; your latest if left out", "哪一个；不填则为最近的"),
    "models": _text("模型", "Which models can draw", "可用的模型"),
    "stats": _text("统计", "How much has been drawn", "绘制统计"),
    "style": _text("风格", "Saved styles of this server", "此服务器保存的风格"),
    "style list": _text("列表", "List the styles", "有哪些风格"),
    "style add": _text("添加", "Add a style (moderators)", "保存一个风格（管理员）"),
    "style remove": _text("删除", "Remove a style (moderators)", "删除一个风格（管理员）"),
    "style:name": _text("名称", "name of the style", "风格的名称"),
    "style:prompt": _text(
        "文字",
        "text to add; {prompt} stands for what people typed",
        "添加的文字；{prompt} 代表用户所写",
    ),
    "style:negative": _text("不要", "what the picture should not show", "画面中不要出现的内容"),
    "help": _text("帮助", "What Marble can do, and how", "Marble 能做什么，怎么用"),
    "privacy": _text("隐私", "What is stored about you", "保存哪些关于你的数据"),
    "mydata": _text("我的数据", "Your data", "你的数据"),
    "mydata export": _text("导出", "Get everything stored about you", "取得保存的关于你的全部数据"),
    "mydata delete": _text(
        "删除", "Delete everything stored about you", "删除保存的关于你的全部数据"
    ),
    "moderate": _text("管理", "For moderators", "管理员专用"),
    "moderate ban": _text("封禁", "Ban somebody from drawing here", "禁止某人在此生成图片"),
    "moderate unban": _text("解禁", "Lift a ban", "解除封禁"),
    "moderate channel": _text("频道", "Show or change the rules here", "查看或修改此处的规则"),
    "moderate log": _text("记录", "What moderators did", "管理员做过什么"),
    "moderate pause": _text(
        "暂停", "Pause the queue, with a reason people see", "暂停队列，并告知原因"
    ),
    "moderate resume": _text("恢复", "Resume the queue", "恢复队列"),
    "moderate:person": _text("成员", "who", "谁"),
    "moderate:reason": _text("原因", "reason, shown to them", "原因；会告知对方"),
    "moderate:hours": _text(
        "小时", "for how many hours; permanent if left out", "封禁多少小时；不填则永久"
    ),
    "moderate:open": _text("开放", "whether drawing is allowed here", "此处是否允许生成图片"),
    "moderate:steps": _text("步数", "range like 1-30, or none", "范围，如 1-30，或 none"),
    "moderate:guidance": _text("引导", "range like 1-12", "范围，如 1-12"),
    "moderate:width": _text("宽", "range in pixels like 64-768", "像素范围，如 64-768"),
    "moderate:height": _text("高", "range in pixels like 64-768", "像素范围，如 64-768"),
    "moderate:count": _text("张数", "range like 1-4", "范围，如 1-4"),
    "moderate:models": _text("模型", "only these, separated by commas", "只用这些，逗号分隔"),
    "moderate:per_minute": _text("每人每分钟", "jobs per minute and person", "每人每分钟的任务数"),
    "moderate:place_per_minute": _text(
        "合计每分钟", "jobs per minute in total", "所有人每分钟的任务数"
    ),
    "moderate:blocked": _text("禁用词", "words, separated by commas", "词语，逗号分隔"),
    "moderate:safety": _text("安全", "off, spoiler or refuse", "off、spoiler 或 refuse"),
    "moderate:rule": _text("其他规则", "name of another rule", "其他规则的名称"),
    "moderate:value": _text("值", "value of that rule, or none", "该规则的值，或 none"),
    "moderate:server": _text(
        "全服", "for the whole server, not only this channel", "用于整个服务器，而不仅是此频道"
    ),
    "menu Recipe": _text("配方", "", ""),
    "menu Rerun": _text("重画", "", ""),
    "menu Vary": _text("变体", "", ""),
    "menu Upscale": _text("放大", "", ""),
    "menu Use as start image": _text("用作起始图", "", ""),
    ":image": _text("起始图", "picture to start from", "从这张图开始画"),
    ":mask": _text(
        "蒙版", "white where the start image is redrawn", "白色处为起始图中要重画的部分"
    ),
    **{
        f":{option.name}": CommandText(
            {"zh": _OPTION_NAMES.get(option.name, option.name)},
            {language: _short(text) for language, text in option.help.items()},
        )
        for option in OPTIONS
    },
}
