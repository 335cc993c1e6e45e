"""Messages of the web page in Chinese."""

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
    navigation = "页面"

    # Signing in and out
    sign_in = "登录"
    sign_in_how = (
        "在 Discord 或 Telegram 的私聊中向 Marble 发送 /web，它会回复一个链接，十分钟内可用一次。"
        "在本机终端请运行 `marble web`。"
    )
    enter_as = "此链接将以 {person} 的身份登录。"
    enter_once = "它只能用一次。如果不是您向 Marble 要的链接，请关闭此页。"
    enter = "登录"
    account = "账号"
    signed_in_as = "您已登录为 {person}。"
    sign_out = "退出登录"
    sign_out_here = "仅在此设备上："
    sign_out_everywhere = "在所有设备上退出"
    sign_out_all = "在所有设备上（/web logout 也可以）："

    # What goes wrong
    went_wrong = "没有成功"
    no_page = "没有这个页面。"
    bad_request = "无法读取此请求；请刷新页面再试。"
    too_large = "内容太大。"
    broken = "Marble 内部出错，原因在其所有者的日志中；请稍后再试。"
    not_signed_in = "您尚未登录。"
    link_used = "此链接已被使用，或已超过十分钟。请向 Marble 发送 /web 获取新链接。"
    forged = "这不是 Marble 的页面发出的请求，因此什么也没有做。请刷新页面再试。"
    too_many = "一分钟内次数太多；请稍等再试。"
    home = "回到首页"
