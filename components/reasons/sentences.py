"""The project's own sentences: what is said of any feature, and of those whose meaning is known."""

from __future__ import annotations

from typing import Literal

from components.config.summaries import DAYS, TICKS
from components.contracts.names import (
    EVENT_TYPE,
    NUM_STEPS,
    SAME_UNIT,
    STEP_UNIT,
    TIME_SINCE_PREVIOUS,
    TIME_TO_AS_OF,
    UNIT,
)

Direction = Literal["high", "low", "missing", "word", "course"]
Sentences = dict[Direction, dict[str, str]]  # by direction and language

KNOWLEDGE_COMPONENT = "knowledge_component"

_WHERE = {
    "en": '[, mostly in "{where}"]',
    "de": "[, vor allem in „{where}“]",
    "zh": "[，主要在“{where}”]",
}

# What is said of any feature, by direction.
GENERAL: Sentences = {
    "high": {
        "en": "{name}: higher than usual" + _WHERE["en"],
        "de": "{name}: höher als üblich" + _WHERE["de"],
        "zh": "{name}：高于一般水平" + _WHERE["zh"],
    },
    "low": {
        "en": "{name}: lower than usual" + _WHERE["en"],
        "de": "{name}: niedriger als üblich" + _WHERE["de"],
        "zh": "{name}：低于一般水平" + _WHERE["zh"],
    },
    "missing": {
        "en": "{name}: nothing recorded",
        "de": "{name}: nichts erfasst",
        "zh": "{name}：没有记录",
    },
    "word": {"en": "{name}: {value}", "de": "{name}: {value}", "zh": "{name}：{value}"},
    # As much as usual on average, but at other times.
    "course": {
        "en": "{name}: the course over time",
        "de": "{name}: der zeitliche Verlauf",
        "zh": "{name}：随时间的变化",
    },
}

# What is said of columns whose meaning is known: those that the join derives, and conventional ones
# that the board reads too.
KNOWN: dict[str, Sentences] = {
    TIME_SINCE_PREVIOUS: {
        "high": {
            "en": "long pauses between events" + _WHERE["en"],
            "de": "lange Pausen zwischen den Ereignissen" + _WHERE["de"],
            "zh": "两次活动之间间隔较长" + _WHERE["zh"],
        },
        "low": {
            "en": "short pauses between events" + _WHERE["en"],
            "de": "kurze Pausen zwischen den Ereignissen" + _WHERE["de"],
            "zh": "两次活动之间间隔较短" + _WHERE["zh"],
        },
    },
    TIME_TO_AS_OF: {
        "high": {
            "en": "active mostly a long time ago",
            "de": "vor allem vor längerer Zeit aktiv",
            "zh": "活动大多在较久以前",
        },
        "low": {
            "en": "active mostly in recent days",
            "de": "vor allem in letzter Zeit aktiv",
            "zh": "活动大多在近期",
        },
    },
    SAME_UNIT: {
        "high": {
            "en": "much of the activity is in this unit",
            "de": "viel der Aktivität in dieser Einheit",
            "zh": "大部分活动在本单元",
        },
        "low": {
            "en": "little of the activity is in this unit",
            "de": "wenig der Aktivität in dieser Einheit",
            "zh": "本单元的活动较少",
        },
    },
    STEP_UNIT: {
        "word": {
            "en": 'activity in the unit "{value}"',
            "de": "Aktivität in der Einheit „{value}“",
            "zh": "在单元“{value}”中的活动",
        },
    },
    UNIT: {
        "word": {"en": 'the unit "{value}"', "de": "die Einheit „{value}“", "zh": "单元“{value}”"},
    },
    EVENT_TYPE: {
        "word": {
            "en": 'events of type "{value}"',
            "de": "Ereignisse der Art „{value}“",
            "zh": "“{value}”类型的活动",
        },
    },
    KNOWLEDGE_COMPONENT: {
        "word": {
            "en": 'activity in "{value}"',
            "de": "Aktivität in „{value}“",
            "zh": "在“{value}”中的活动",
        },
    },
    NUM_STEPS: {
        "high": {"en": "many events", "de": "viele Ereignisse", "zh": "活动较多"},
        "low": {"en": "few events", "de": "wenige Ereignisse", "zh": "活动较少"},
    },
    "correct": {
        "high": {
            "en": "many right answers" + _WHERE["en"],
            "de": "viele richtige Antworten" + _WHERE["de"],
            "zh": "答对较多" + _WHERE["zh"],
        },
        "low": {
            "en": "few right answers" + _WHERE["en"],
            "de": "wenige richtige Antworten" + _WHERE["de"],
            "zh": "答对较少" + _WHERE["zh"],
        },
        "missing": {
            "en": "no exercises answered",
            "de": "keine Aufgaben beantwortet",
            "zh": "没有作答记录",
        },
    },
    "dwell_seconds": {
        "high": {
            "en": "a long time spent" + _WHERE["en"],
            "de": "lange Verweildauer" + _WHERE["de"],
            "zh": "停留时间较长" + _WHERE["zh"],
        },
        "low": {
            "en": "little time spent" + _WHERE["en"],
            "de": "kurze Verweildauer" + _WHERE["de"],
            "zh": "停留时间较短" + _WHERE["zh"],
        },
    },
}

# Summaries of the times of events, by their names in `components.config.summaries`.
KNOWN[f"{TIME_TO_AS_OF}.last"] = {
    "high": {
        "en": "the last activity is long ago",
        "de": "letzte Aktivität liegt lange zurück",
        "zh": "最近一次活动已过去较久",
    },
    "low": {"en": "active recently", "de": "vor Kurzem aktiv", "zh": "近期有活动"},
}
KNOWN[f"{TIME_TO_AS_OF}.first"] = {
    "high": {"en": "began long ago", "de": "vor langer Zeit begonnen", "zh": "开始较早"},
    "low": {"en": "began recently", "de": "vor Kurzem begonnen", "zh": "开始较晚"},
}
KNOWN[f"{TIME_TO_AS_OF}.longest_gap"] = {
    "high": {
        "en": "a long gap without activity",
        "de": "eine lange Lücke ohne Aktivität",
        "zh": "有较长时间没有活动",
    },
    "low": {
        "en": "no long gap without activity",
        "de": "keine lange Lücke ohne Aktivität",
        "zh": "没有较长的空档",
    },
}


def _add_window(window: str, en: str, de: str, zh: str) -> None:
    """Adds what is said of the events, and of the days with events, in a time up to the answer."""
    KNOWN[f"{TIME_TO_AS_OF}.events_{window}"] = {
        "high": {
            "en": f"many events in {en}",
            "de": f"viele Ereignisse in {de}",
            "zh": f"最近{zh}活动较多",
        },
        "low": {
            "en": f"few events in {en}",
            "de": f"wenige Ereignisse in {de}",
            "zh": f"最近{zh}活动较少",
        },
    }
    KNOWN[f"{TIME_TO_AS_OF}.days_{window}"] = {
        "high": {
            "en": f"many active days in {en}",
            "de": f"viele aktive Tage in {de}",
            "zh": f"最近{zh}活跃天数较多",
        },
        "low": {
            "en": f"few active days in {en}",
            "de": f"wenige aktive Tage in {de}",
            "zh": f"最近{zh}活跃天数较少",
        },
    }


_add_window("1d", "the last day", "den letzten 24 Stunden", "1天")
for _days in DAYS[1:]:
    _add_window(f"{_days}d", f"the last {_days} days", f"den letzten {_days} Tagen", f"{_days}天")
for _ticks in TICKS:  # of a clock that counts
    _add_window(
        f"{_ticks}",
        f"the time of {_ticks} up to now",
        f"der Zeit von {_ticks} bis jetzt",
        f"{_ticks}个单位时间",
    )

# What a summary of a feature is, after the feature's name.
SUMMARIES: dict[str, dict[str, str]] = {
    "mean": {"en": "{of} (on average)", "de": "{of} (im Mittel)", "zh": "{of}（平均）"},
    "last": {"en": "{of} (the last one)", "de": "{of} (zuletzt)", "zh": "{of}（最近一次）"},
    "recent": {"en": "{of} (recently)", "de": "{of} (in letzter Zeit)", "zh": "{of}（近期）"},
    "sum": {"en": "{of} (in total)", "de": "{of} (insgesamt)", "zh": "{of}（合计）"},
    "missing": {
        "en": "{of} (how often missing)",
        "de": "{of} (wie oft ohne Wert)",
        "zh": "{of}（缺失比例）",
    },
    "count": {"en": "{of} (how often)", "de": "{of} (wie oft)", "zh": "{of}（次数）"},
    "different": {
        "en": "{of} (how many different)",
        "de": "{of} (wie viele verschiedene)",
        "zh": "{of}（种类数）",
    },
    "repeats": {
        "en": "{of} (how often repeated)",
        "de": "{of} (wie oft wiederholt)",
        "zh": "{of}（重复次数）",
    },
}
