"""Messages of the engine room in Chinese."""

from collections.abc import Mapping
from typing import ClassVar

from bots.texts.engine_room import EngineRoom


class ChineseEngineRoom(EngineRoom):
    """Every message of the engine room in Chinese."""

    __slots__ = ()

    # Every page
    title = "控制室"
    tabs: ClassVar[Mapping[str, str]] = {
        "queue": "队列",
        "figures": "统计",
        "devices": "设备",
        "models": "模型",
        "rules": "规则",
        "bans": "封禁",
        "log": "日志",
        "upkeep": "维护",
    }
    pages = "控制室的页面"
    stale = "暂时无法读取，显示的内容可能已过时；正在重试。"
    cancel = "取消"
    person = "用户"
    place = "地点"
    place_how = "例如 discord:服务器、discord:服务器/频道 或 telegram:聊天；* 表示所有地方。"
    person_how = "例如 discord:123 或 telegram:123。"
    reason = "原因"
    show = "显示"
    older = "更早"
    by = "操作者"
    state = "状态"

    # The queue
    counts = "{running} 个任务正在运行，{waiting} 个在等待。"
    replies = "{count} 条回复等待发送。"
    paused_for = "已由 {by} 暂停 {time}：{reason}"
    paused = "暂不开始任何任务：{reason}"
    pause = "暂停"
    pause_reason = "等待的人会看到的原因"
    resume = "恢复"
    position = "队列位置"
    runs = "运行中"
    job = "任务"
    what = "内容"
    steps = "{n} 步"
    age = "已过时间"
    ready_in = "预计完成"
    lost = "重新排队：绘制它的进程已终止"
    alone = "单独运行：绘制它的进程曾终止"
    ahead = "已提前"
    next = "下一个绘制"
    next_job = "让任务 {job} 成为下一个"
    cancel_job = "取消任务 {job}"

    # Figures
    figures_about = "最近 24 小时，按任务结束的小时（UTC）统计。"
    figures_cut = "任务太多，只统计了最近的一部分。"
    pictures = "图片"
    waits = "从请求到出图的秒数"
    half_within = "一半不超过"
    most_within = "二十分之十九不超过"
    failures = "失败的任务"
    cancelled = "已取消"
    drawn = "已完成"
    hour = "小时"
    at_most = "最高为 {value}，在 {hour}。"
    none_yet = "还没有可显示的内容。"
    as_table = "以表格显示"
    errors = "最常见的错误"
    times = "次数"
    error = "错误"
    budgets = "额度"
    budgets_about = "最近 24 小时用得最多的人，单位为百万像素 × 步数。失败或取消的任务不计。"
    budgets_plot = "柱高为到该小时为止的用量；上沿是额度，或最高用量。"
    spent_of = "{spent} / {budget}"
    hours = "按小时"
    budget_everywhere = "没有单独规则的地方，每人每天可用 {budget}。"
    no_budget = "没有单独规则的地方，不限制额度。"
    spent = "已用"
    jobs = "任务数"

    # Devices
    engines = "引擎"
    no_engine = "还没有引擎在运行。"
    device = "设备"
    kind = "型号"
    up = "正常"
    held = "已加载的模型"
    no_model = "尚无"
    restarts = "重启次数"
    running_jobs = "任务数"
    width = "每次调用的行数"
    width_about = (
        "每次网络调用的行数是引擎启动以来的平均值；使用引导时一张图片占两行。内存是引擎进程的用量。"
    )
    memory = "内存"
    gpus = "显卡"
    busy = "占用"
    heat = "温度"
    machine = "主机"
    processors = "{n} 个处理器；最近一分钟的负载为 {load}。"
    machine_memory = "内存 {memory}，可用 {available}。"

    # Models
    models_about = "模型文件夹中的内容。"
    fits: ClassVar[Mapping[str, str]] = {
        "whole": "放得下",
        "in_turns": "各部分轮流放得下：每次 {size}",
        "by_groups": "分组放得下：每次 {size}",
        "not": "放不下：还差 {size}",
    }
    fits_unknown = "引擎启动之后，这里会显示内存是否放得下。"
    model = "模型"
    size = "大小"
    defaults = "默认值"
    check = "检查"
    check_model = "检查 {name}"
    check_all = "检查全部"
    check_about = "检查会加载模型；只检查一个模型时还会画一张小图。它会在引擎之外占用内存。"
    parts = "模型以外的文件"
    offers = "下载模型"
    offers_about = "从 Hugging Face 下载到模型文件夹。"
    no_folder = "下载模型需要一个文件夹：请用 MARBLE_MODELS_DIR 指定。"
    licence = "许可"
    gated = "须先在网站上同意"
    gpu_memory = "显存"
    get = "下载"
    get_model = "下载 {name}"
    address = "网站上文件夹的 owner/name，或 owner/name/file.safetensors"

    # Commands that run
    commands: ClassVar[Mapping[str, str]] = {
        "doctor": "检查结果",
        "check": "检查模型：{about}",
        "get": "下载 {about}",
        "backup": "备份",
    }
    all_models = "全部"
    running_since = "已运行 {time}，由 {by} 启动。"
    ended_well = "用时 {time}，于 {at} 完成。"
    ended_badly = "没有成功，{at}。"
    was_cancelled = "已取消，{at}。"
    progress = "进度"

    # Rules
    rules_choose = "某个地点的规则"
    rules_places = "有自己规则的地点"
    everywhere = "所有地方"
    rules_in_force = "{place} 现行的规则"
    rules_owner = "所有者为 {place} 定的规则"
    rules_moderators = "管理员为 {place} 定的规则"
    rules_about = (
        "留空表示沿用外层地点的规则。列表中只写一个逗号表示不允许任何名称。"
        "每个输入框下面是现行的值。"
    )
    rules_narrow = "只能比所有者的规则更严格。"
    rules_now = "现行：{value}"
    no_rule = "不限"
    rules_save = "保存规则"
    rules_saved = "{place} 的规则已保存。"
    rules_unchanged = "没有规则被更改。"
    is_open = "这里可以请求图片"
    as_around = "可以，除非外层地点不允许"

    # Bans
    bans_about = "现行的封禁，最新的在前。"
    bans_cut = "只列出最新的 {count} 条。"
    no_bans = "没有人被封禁。"
    ban = "封禁"
    ban_hours = "小时数（留空：无限期）"
    until = "截止"
    no_end = "无限期"
    lift = "解除"
    lift_of = "解除 {person} 在 {place} 的封禁"

    # Log
    log_about = "所有者和管理员的操作，最新的在前。时间为 UTC。"
    log_empty = "没有这样的记录。"
    when = "时间"
    act = "操作"
    target = "对象"
    detail = "详情"

    # Upkeep
    disk = "磁盘"
    disk_free = "Marble 数据所在的磁盘共 {total}，剩余 {free}。"
    database = "数据库"
    findings = "检查结果"
    findings_about = "命令 marble doctor 对 Marble 所依赖的一切的检查结果。"
    examine = "立即运行 marble doctor"
    finding_states: ClassVar[Mapping[str, str]] = {
        "ok": "正常",
        "look": "请留意",
        "wrong": "有问题",
    }
    subject = "项目"
    finding = "结果"
    backups = "数据库备份"
    backups_about = (
        "每晚的备份保留最近 {kept} 份；在这里制作的会一直保留，直到你在“backups”文件夹中删除。"
        "备份不含图片。"
    )
    no_backups = "还没有备份。"
    back_up = "立即备份"
    file = "文件"
