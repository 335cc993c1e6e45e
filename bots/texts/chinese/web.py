"""Messages of the web page in Chinese."""

from collections.abc import Mapping
from typing import ClassVar

from bots.texts.web import WebWords


class ChineseWeb(WebWords):
    """Every message of the page in Chinese."""

    __slots__ = ()

    language = "zh"
    language_name = "中文"

    # Every page
    skip = "跳到内容"
    choose_language = "语言"
    change_language = "更换"
    engine_room = "控制室"
    navigation = "页面"

    # Signing in and out
    sign_in = "登录"
    sign_in_how = (
        "在 Discord 或 Telegram 的私聊中向 Marble 发送 /web，它会回复一个链接，十分钟内可用一次。"
        "在本机终端请运行 `marble web`。"
    )
    enter_as = "此链接将以 {person} 的身份登录。"
    enter_once = "它只能用一次。如果不是你向 Marble 要的链接，请关闭此页。"
    enter = "登录"
    signing_in = "正在登录 …"
    needs_script = "此页面需要 JavaScript；向 Marble 发送 /web 可获取无需它的链接。"
    account = "账号"
    signed_in_as = "你已登录为 {person}。"
    sign_out = "退出登录"
    sign_out_here = "仅在此设备上："
    sign_out_everywhere = "在所有设备上退出"
    sign_out_all = "在所有设备上（/web logout 也可以）："

    # Pictures
    pictures = "图片"
    search = "搜索提示词"
    like = "或画面内容"
    find = "搜索"
    progress = "已画步数"
    on_its_way = "已提交"
    all_of = "{name} 的全部"
    show_unsafe = "已被安全检查隐藏；显示"
    actions = "操作"
    pan: ClassVar[Mapping[str, str]] = {
        "left": "向左延伸",
        "right": "向右延伸",
        "up": "向上延伸",
        "down": "向下延伸",
    }
    describe = "用文字描述"
    start_from_it = "从它开始画"
    blend = "与其他图混合"
    blend_others = "Marble 的其他图，填名字"
    blend_files = "其他图，选择文件"
    png_holds = "PNG 里带有配方：拖进 ComfyUI 可得到同样的图；A1111 和 Marble 也能读。"
    png_without_graph = "PNG 里带有 Marble 能读的配方；其中没有 ComfyUI 的流程图。"
    lineage = "相关图片"
    made_from = "它来自"
    made_of_it = "由它而来"
    delete_job = "删除任务 {job}"
    delete_what = (
        "这会永久删除任务 {job} 的所有图片和配方，也会从他人的收藏中消失。"
        "聊天中展示它的消息会保留，请在聊天中删除。仍在排队或正在画的任务则只会被取消。"
    )
    delete_for_good = "永久删除"
    keep_it = "保留"
    reply_on_its_way = "它的回复还在发往聊天的途中，因此没有删除；请一分钟后再试。"

    # Asking for pictures
    imagine = "画图"
    options = "选项"
    choose_file = "从这张图开始"
    image_hint = "可选择、拖入或粘贴。不写文字时，会按文件中的配方重画。"
    read_recipe = "读取配方"
    recipe_of = "由 {source} 写入"
    starts_from = "从 {name} 开始。"
    without_it = "不用它"

    # The brush
    brush = "局部重画"
    canvas = "图片：涂抹要重画的地方"
    tool = "工具"
    tools: ClassVar[Mapping[str, str]] = {
        "brush": "画笔",
        "lasso": "套索",
        "erase": "橡皮",
        "extend": "扩大画布",
    }
    brush_size = "大小"
    feather = "柔和边缘"
    undo = "撤销"
    redo = "重做"
    clear = "清除"
    brush_keys = (
        "键盘：方向键移动画笔，空格涂抹，按住 Shift 和方向键连续涂抹，"
        "[ 和 ] 改变大小，Ctrl+Z 撤销。"
    )
    margins = "要增加的像素"
    edges: ClassVar[Mapping[str, str]] = {"left": "左", "right": "右", "top": "上", "bottom": "下"}
    pull: ClassVar[Mapping[str, str]] = {
        "left": "拉动左边：方向键",
        "right": "拉动右边：方向键",
        "top": "拉动上边：方向键",
        "bottom": "拉动下边：方向键",
    }
    mask_file = "蒙版：白色处重画"
    what_there = "整张图将是什么"
    what_there_hint = "后面可加选项：--seed 7 --steps 30"
    strength = "强度"
    nothing_painted = "还没有涂抹：请涂抹要重画的地方。"
    unreachable = "无法连接 Marble，请稍后再试。"
    without_chat = (
        "这是从超过一天的消息、由别人或为另一张图打开的："
        "在这里画的图只会出现在你的图片中，不会发到聊天里。"
    )
    mask_or_margins = "蒙版和扩展边距只能选一种，请分两次绘制。"
    away = "无法连接 Marble；你涂抹的内容还在。请稍后再试。"
    compare = "前后对比"
    compare_how = "显示多少原图"
    before = "之前"
    after = "之后"
    results = "结果"

    # What goes wrong
    too_many_streams = "其他标签页已在显示实时进度；此页会隔一会儿询问一次。"
    went_wrong = "没有成功"
    no_page = "没有这个页面。"
    bad_request = "无法读取此请求；请刷新页面再试。"
    too_large = "内容太大：一次最多可发送 {limit}。"
    broken = "Marble 内部出错，原因在其所有者的日志中；请稍后再试。"
    not_signed_in = "你尚未登录。"
    signed_out = "你已不再处于登录状态，因此什么也没有做。"
    written = "你写的内容"
    written_how = "这些内容没有保存：离开此页前请复制需要的部分。"
    link_used = "此链接已被使用，或已超过十分钟。请向 Marble 发送 /web 获取新链接。"
    not_telegram = "这不是 Telegram 为此机器人签名的内容。"
    open_again = "此登录信息已被使用，或已超过一天；请从 Telegram 再次打开此页面。"
    forged = "此请求不是由 {address} 的页面发出的，因此什么也没有做。请在该地址打开 Marble 再试。"
    form_ended = "此页面早于你的登录，因此什么也没有做。请刷新页面再试。"
    too_many = "一分钟内次数太多；请稍等再试。"
    home = "回到首页"
