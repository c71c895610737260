"""The look of the picture: colours by family of kinds, light and dark, and the small icons.

Every colour is a class with a value for each scheme, written out (not CSS variables), because
converters such as librsvg know no variables.
"""

from __future__ import annotations

from flowengine.flow.layout.cards import KIND_SIZE, LABEL_SIZE, LINE_SIZE, TITLE_SIZE
from flowengine.flow.layout.graph import Family

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

COLOURS: dict[Family, tuple[str, str]] = {
    "speak": ("#1d4ed8", "#7aa7ff"),
    "listen": ("#7c3aed", "#b79bff"),
    "decide": ("#b45309", "#f0b35c"),
    "act": ("#0f766e", "#4fd1c0"),
    "move": ("#15803d", "#69d48b"),
    "flow": ("#be185d", "#f58ab8"),
    "end": ("#b91c1c", "#f48b8b"),
    "other": ("#475569", "#a3b1c4"),
}

ICONS: dict[Family, str] = {
    "speak": "M2.5 3.5h11v7h-6l-3 2.7v-2.7h-2z",
    "listen": (
        "M8 1.8a2 2 0 0 1 2 2v4a2 2 0 0 1-4 0v-4a2 2 0 0 1 2-2zM4 7.6a4 4 0 0 0 8 0M8 11.6v2.6"
    ),
    "decide": "M8 1.7l6.3 6.3-6.3 6.3-6.3-6.3z",
    "act": "M9.3 1.5l-5.8 7.8h4l-.8 5.2 5.8-7.8h-4z",
    "move": "M2 5.2h10.5M9.7 2.4l2.8 2.8-2.8 2.8M14 10.8h-10.5M6.3 8l-2.8 2.8 2.8 2.8",
    "flow": "M2.5 2.5h7v7h-7zM6.5 9.5v4h7v-7h-4",
    "end": "M2 9.6c3.4-3.6 8.6-3.6 12 0l-1.6 2.2-2.6-1v-1.8c-1.2-.4-2.400-.4-3.6 0v1.8l-2.6 1z",
    "other": "M3 3h10v10h-10z",
}

_SCHEMES = (
    {
        "page": "#ffffff",
        "card": "#ffffff",
        "edge": "#cbd5e1",
        "ink": "#0f172a",
        "soft": "#526075",
        "line": "#8391a7",
        "label": "#334155",
        "pill": "#eef2f7",
        "panel": "#f7f9fc",
        "wrong": "#c2410c",
        "trail": "#ea580c",
        "trail_ink": "#ffffff",
    },
    {
        "page": "#0d1420",
        "card": "#182232",
        "edge": "#3a4a61",
        "ink": "#edf2f9",
        "soft": "#a4b2c6",
        "line": "#71829b",
        "label": "#c9d4e3",
        "pill": "#243147",
        "panel": "#131c2a",
        "wrong": "#fb9a62",
        "trail": "#fb923c",
        "trail_ink": "#1c0f04",
    },
)


def _colours(scheme: int) -> str:
    c = _SCHEMES[scheme]
    rules = [
        f".page{{fill:{c['page']}}}.card{{fill:{c['card']};stroke:{c['edge']}}}",
        f".title,.head{{fill:{c['ink']}}}.say{{fill:{c['soft']}}}.label{{fill:{c['label']}}}",
        f".halo{{fill:{c['page']}}}.line{{stroke:{c['line']}}}.tip,.dot{{fill:{c['line']}}}",
        f".pill{{fill:{c['pill']};stroke:{c['edge']}}}.cap{{fill:{c['card']};stroke:{c['line']}}}",
        f".name{{fill:{c['label']}}}.star{{fill:{c['card']};stroke:{c['line']}}}",
        f".panel{{fill:{c['panel']};stroke:{c['edge']}}}.arrow{{stroke:{c['soft']}}}",
        f".on-error .line{{stroke:{c['wrong']}}}",
        f".on-error .tip,.on-error .label{{fill:{c['wrong']}}}",
        f".taken .line{{stroke:{c['trail']}}}.taken .tip,.badge{{fill:{c['trail']}}}",
        f".taken .card,.taken .pill{{stroke:{c['trail']}}}.number{{fill:{c['trail_ink']}}}",
    ]
    for family, colours in COLOURS.items():
        rules.append(
            f".{family} .bar,.{family} .kind,.{family} .tag{{fill:{colours[scheme]}}}"
            f".{family} .icon{{stroke:{colours[scheme]}}}"
        )
    return "".join(rules)


def style_sheet() -> str:
    """The picture's style: shapes and fonts, then both colour schemes."""
    return (
        f"text{{font-family:{FONT}}}.mono{{font-family:{MONO}}}"
        f".kind{{font-size:{KIND_SIZE}px;font-weight:700;letter-spacing:.6px}}"
        f".title{{font-size:{TITLE_SIZE}px;font-weight:650}}.say{{font-size:{LINE_SIZE}px}}"
        f".head{{font-size:{LINE_SIZE}px;font-weight:700}}"
        f".label,.name{{font-size:{LABEL_SIZE}px}}.intent{{font-style:italic}}"
        ".card,.pill,.panel,.cap,.star{stroke-width:1}.panel{stroke-dasharray:4 3}"
        ".line{fill:none;stroke-width:1.5}.upward .line{stroke-dasharray:5 4}"
        ".icon,.arrow{fill:none;stroke-width:1.4;stroke-linecap:round;stroke-linejoin:round}"
        ".tag{opacity:.14}.number{font-size:11px;font-weight:700}.faded{opacity:.38}"
        ".taken .line{stroke-width:3}.taken .card{stroke-width:2.5}.taken .pill{stroke-width:2}"
        + _colours(0)
        + "@media (prefers-color-scheme:dark){"
        + _colours(1)
        + "}"
    )
