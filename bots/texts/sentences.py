"""Say sentences of every room in somebody's language: found by their code, filled by their facts.

English is what the rooms themselves write. What only owners read (why a model's files are broken,
say) stays English inside the sentence; a test holds that every code is in every table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bots.texts.passport import ZH_PASSPORT
from bots.texts.words import Words
from bots.texts.zh import ZH
from engine.errors import UserError
from engine.sentences import Fact, Sentence

ZH_SENTENCES: Final[Mapping[str, str]] = {
    # Values of options
    "bad_option": "{option} 应为{allowed}，而不是 {given}。",
    "between": " {low} 到 {high} 之间的数",
    "whole_between": " {low} 到 {high} 之间的整数",
    "between_in_steps": " {low} 到 {high} 之间、以 {step} 递增的数",
    "pixels_a_side": "每边{allowed}（像素）",
    "a_size": " 512 或 768x512 这样的尺寸（像素），或 3:2 这样的比例（两数为 1 到 999）",
    "a_lora": " name 或 name:0.8 这样的写法（多个用逗号分隔），或 none",
    "or_a_word": "{allowed}，或 {word}",
    "a_style_name": " 1 到 32 个字母、数字、- 或 _",
    "a_seed": " 0 到 {most} 之间的整数",
    "one_of": "以下之一：{names}",
    "below_largest": "能使 {size} 不超过 1600 万像素的倍数",
    "below_count": "小于张数（{count}）的整数",
    "newer": " {version}（是由更新的 Marble 写的吗？）",
    "like_bounds": " 低-高 这样的范围，在 {low} 到 {high} 之间",
    "owners_own": "在 Marble 所有者允许的范围内（{owners}）",
    "a_limit": " 0（不限）到 {most:,} 之间的整数",
    "at_most": "不超过 {limit:,} 个字符的文字",
    "characters": " {count:,} 个字符",
    "characters_with_style": "加上风格 {style} 共 {count:,} 个字符",
    "some_words": "描述画面的文字",
    "followed_by": "后面带一个值（{example}）",
    "without_image": "空（没有起始图时不能填写）",
    "with_image": "与起始图一起使用",
    "a_reason": " 1 到 {most} 个可显示的字符",
    "style_room_once": "最多含一个 {{prompt}} 的文字",
    "style_words": "要添加或排除的文字",
    "unknown_option": "没有选项 {name}{near}。",
    "given_twice": "{name} 给了两次：{first} 和 {second}；请只给一次。",
    "nearest": "（是不是 {name!r}？）",
    # Words and pictures that people give
    "bad_weight": "{words} 的权重必须是有限的数，而不是 {weight}；"
    "属于文字本身的括号请写成 \\( 和 \\)。",
    "many_windows": "连同嵌入，提示词占满 {windows} 个词元窗口；最多 {most} 个。",
    "bad_lora_tag": "{written} 应写成 <lora:名称> 或 <lora:名称:0.8>。",
    "no_hypernetworks": "{written} 是超网络（hypernetwork），Marble 不能使用；请去掉它。",
    "empty_file": "文件是空的。",
    "too_many_bytes": "文件有 {size} MiB；图片最多 {most} MiB。",
    "damaged_picture": "图片已损坏或不完整；请重新存为 PNG、JPEG 或 WEBP。",
    "no_such_picture": "这个文件是 {name}；请发送 PNG、JPEG 或 WEBP 图片。",
    "no_picture": "这个文件不是图片；请发送 PNG、JPEG 或 WEBP 图片。",
    "moving_picture": "这张图会动；请发送静止的图片。",
    "too_many_pixels": "图片为 {size} 像素；总数最多 {most} 百万。",
    "too_small": "图片为 {size} 像素；每边至少 {least}。",
    "too_long": "图片为 {size} 像素；长边最多是短边的 {times} 倍。",
    "mask_of_another_shape": "蒙版为 {mask} 像素，图片为 {picture}；两者的形状必须相同。",
    "no_recipe": "图片里没有配方：没有 Marble、ComfyUI 或 A1111 的文字。",
    "strange_recipe": "图片里的文字来自 {wrote}，Marble 读不了。",
    "not_a_picture_file": "这个文件不是 PNG、JPEG 或 WebP 图片。",
    "black_mask": "蒙版全黑，没有可画之处；请把要重画的地方涂白。",
    "black_where_drawn": "在要画的区域内蒙版全黑，没有可画之处。",
    "nothing_transparent": "图片没有透明之处，没有可画的；请提供蒙版。",
    "unfetched": "无法取得图片；请稍后再试。",
    # Models, and what becomes of a job
    "unknown_model": "没有模型 {name}{near}；现有模型：{known}。",
    "unknown_part": "没有名为 {name} 的 {kind}{near}；现有：{known}。",
    "missing_vae": "模型 {name!r} 不含 VAE：请用 --vae 指定 vae/ 中的一个{known}；"
    "微型 VAE 只能解码。",
    "which_one": "名称 {name} 对应多个文件（{kind}）：{fitting}；请写出完整名称。",
    "no_part": "没有名为 {name} 的 {kind}；这里一个也没有。",
    "wrong_family": "控制模型 {name!r} 适用于 {family}；而模型 {model!r} 是 {its}。",
    "unknown_map_kind": "控制模型 {name!r} 是支持多种控制图的合并模型，必须指明种类："
    "请配合 {finds} 使用，或换用只支持一种控制图的模型。",
    "broken_model": "无法载入模型 {name!r}：{reason}",
    "not_finite_step": "模型在第 {step}/{total} 步算出了无效数值（NaN 或无穷大）；"
    "减小词语和 LoRA 的权重、降低引导强度，或换一个模型，也许可以。",
    "not_finite_latents": "采样器算出了无效数值（NaN 或无穷大）；换一个采样器或增加步数也许可以。",
    "not_finite_vae": "VAE 算出了无效数值（NaN 或无穷大）；换一个 VAE 也许可以。",
    "not_finite_upscaler": "放大模型 {name!r} 算出了无效数值（NaN 或无穷大）；"
    "换一个放大模型也许可以。",
    "out_of_memory": "内存不够画这张图；换小一点的尺寸也许可以。",
    "missing_picture": "配方所需的起始图 {picture}… 已不在；请重新提供这张图，或重画它。",
    "quarantined": "这个任务 {attempts} 次使绘图进程中断，不再重试；换些设置也许可以。",
    "unexpected": "Marble 遇到了意料之外的错误；运营者可在日志中看到。",
    "unknown_style": "此处没有风格 {name}{near}；现有风格：{known}。",
    "no_style": "此处没有风格 {name}；这里一个也没有。",
    "too_many_styles": "此处已有 {most} 个风格，不能再多；请删除一个。",
    # Jobs and pictures that are named
    "unknown_job": "没有任务 {job}。",
    "unknown_picture": "没有图片 {name}；图片的名字形如 12 或 12.3。",
    "one_picture_in_job": "没有图片 {name}：任务 {job} 只有一张图，即 {first}。",
    "pictures_in_job": "没有图片 {name}：任务 {job} 有 {count} 张图，{first} 到 {last}。",
    "export_under_way": "你的导出已在进行；请等它送到。",
    "too_large_export": "你的导出有 {size} MB，超过这里的消息能送的大小；请向此 Marble 的"
    "运营者索取（`marble db export`）。",
    "export_no_room": "导出需要 {needed} MB 磁盘空间，而剩余 {free} MB；有空间后再试。",
    "unreadable_recipe": "任务 {job} 的配方无法读取：{reason}",
    "too_late": "太晚了：任务 {job} 已经结束。",
    "no_pictures": "任务 {job} 没有可以用作起点的图片。",
    "which_picture": "任务 {job} 有 {count} 张图；请说明是哪一张，例如 {example}。",
    "nothing_yet": "你还没有图片；请先描述一张。",
    # Who may ask for what
    "being_restarted": "Marble 正在重启。",
    "disk_nearly_full": "磁盘将满；已告知其所有者。",
    "queue_full": "队列已满（{length:,} 个任务在等待）；请过几分钟再试。",
    "too_many_waiting": "你已有 {most:,} 个任务在等待，不能再多；请取消一个，或等一个开始后再试。",
    "out_of_bounds": "此处 {option} 须在 {low} 到 {high} 之间，而不是 {value}。",
    "not_among": "此处 {option} 须为以下之一：{names}，而不是 {value}。",
    "picture_unsafe": "安全检查不允许在此处显示这张图。",
    "picture_unchecked": "这张图不在此处显示：安全检查未能查看它。",
    "some_left": "安全检查不允许在此处显示的内容已略去。",
    "no_veil": "这张图在此处只能以遮挡方式显示，而文件无法遮挡。",
    "blocked_word": "此处不允许使用“{word}”一词；请换个说法。",
    "too_often": "你在此处每分钟最多可请求 {most} 次；请在 {wait} 秒后再试。",
    "all_too_often": "此处所有人每分钟合计最多可请求 {most} 次；请在 {wait} 秒后再试。",
    "too_many_here": "你在此处已有 {waiting} 个任务在等待，最多 {most} 个；"
    "请等一个开始后再试，或取消一个。",
    "all_too_many_here": "此处所有人合计已有 {waiting} 个任务在等待，最多 {most} 个；"
    "请等一个开始后再试。",
    "spent": "24 小时内你已用去 {daily} 百万像素步中的 {used}，而这张需要 {asks}；"
    "{when} 起可以再画。",
    "more_than_a_day": "24 小时内你已用去 {daily} 百万像素步中的 {used}，而这张需要 {asks}，"
    "超过一整天的额度。",
    "closed": "此处已关闭绘图。",
    "banned": "你不能在这里请求图片：{reason}",
    "banned_until": "在 {until} 之前你不能在这里请求图片：{reason}",
    "unchecked": "请求暂时无法审查，因此都不接受；请稍后再试。",
    "owners_only": "只有所有者可以这样做。",
    "moderators_only": "只有管理员可以这样做。",
    "unseen_picture": "这里没有你可以看的图片 {name}。如果它发在别的频道或群里，请到那里去要。",
    "posted_elsewhere": "图片 {name} 发在别处，这里并非人人都可以看到它：请到那里去要，或私信我。",
    "not_yours": "只有提出请求的人或管理员可以这样做。",
    "ask_in_private": "这只关乎一个人：请以你本人的身份，在与我的私聊中提出。",
}
TABLES: Final[Mapping[str, Mapping[str, str]]] = {ZH.language: {**ZH_SENTENCES, **ZH_PASSPORT}}


def say(sentence: str, words: Words) -> str:
    """Say a sentence in a language; one without a code there stays what it is."""
    table = TABLES.get(words.language, {})
    if not isinstance(sentence, Sentence) or sentence.code not in table:
        return str(sentence)
    return table[sentence.code].format(
        **{name: _part(name, fact, words) for name, fact in sentence.facts.items()}
    )


def tell(error: UserError, words: Words) -> str:
    """Say what an error says, in a language."""
    return say(error.said, words)


def _part(name: str, fact: Fact, words: Words) -> Fact:
    if isinstance(fact, Sentence):
        return say(fact, words)
    return words.fields.get(str(fact), fact) if name == "option" else fact
