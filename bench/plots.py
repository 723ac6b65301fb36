"""Plots as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH = 900
_LABEL_WIDTH = 330
_ROW = 24
_COLOURS = ("#1f5fae", "#c2571a", "#2e7d4f", "#8a3ca0", "#a3811f", "#3b7f8c", "#9c3347", "#59636e")
_OWN = "logd"


def bars(title: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """A bar for each (label, value, least, most), with a line from the least to the most."""
    top = max((most for *_, most in rows), default=0) or 1
    scale = (_WIDTH - _LABEL_WIDTH - 110) / top
    parts = [_begin(title, _ROW * len(rows) + 30)]
    for at, (label, value, least, most) in enumerate(rows):
        y, colour = 30 + at * _ROW, _COLOURS[0] if label.startswith(_OWN) else _COLOURS[-1]
        end = _LABEL_WIDTH + value * scale
        left, right = (_LABEL_WIDTH + edge * scale for edge in (least, most))
        parts.append(
            f"<text x='{_LABEL_WIDTH - 8}' y='{y + 12}' text-anchor='end'>{escape(label)}</text>"
            f"<rect x='{_LABEL_WIDTH}' y='{y}' width='{end - _LABEL_WIDTH:.1f}' height='16' "
            f"fill='{colour}'/>"
            f"<line x1='{left:.1f}' x2='{right:.1f}' y1='{y + 8}' y2='{y + 8}' stroke='#111'/>"
            f"<text x='{max(end, right) + 6:.1f}' y='{y + 12}'>{value:,.0f}</text>"
        )
    return "".join(parts) + "</svg>"


def curves(title: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Milliseconds (logarithmic) over percentiles (50, 90, 99, 99.9, … evenly spaced)."""
    height, left, foot = 300, 60, 40
    values = [ms for _, points in lines for _, ms in points if ms > 0]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x_of(share: float) -> float:
        nines = min(-math.log10(max(1 - share, 1e-5)), 5)
        return left + (_WIDTH - left - 260) * nines / 5

    def y_of(ms: float) -> float:
        return height - foot - (height - foot - 30) * (math.log10(ms) - low) / (high - low)

    parts = [_begin(title, height)]
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        parts.append(
            f"<line x1='{left}' x2='{_WIDTH - 260}' y1='{y:.1f}' y2='{y:.1f}' stroke='#d8dde5'/>"
            f"<text x='{left - 6}' y='{y + 4:.1f}' text-anchor='end'>{10.0**power:g}</text>"
        )
    for share, name in ((0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")):
        x = x_of(share)
        parts.append(f"<text x='{x:.1f}' y='{height - 16}' text-anchor='middle'>{name}</text>")
    for at, (label, points) in enumerate(lines):
        colour = _COLOURS[at % len(_COLOURS)]
        path = " ".join(f"{x_of(share):.1f},{y_of(ms):.1f}" for share, ms in points if ms > 0)
        y = 40 + at * 18
        parts.append(
            f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.6'/>"
            f"<text x='{_WIDTH - 250}' y='{y}' fill='{colour}'>{escape(label)}</text>"
        )
    return "".join(parts) + "</svg>"


def _begin(title: str, height: int) -> str:
    return (
        f"<svg viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' role='img' "
        "font-family='system-ui, sans-serif' font-size='12' xmlns='http://www.w3.org/2000/svg'>"
        f"<title>{escape(title)}</title>"
        f"<text x='0' y='14' font-weight='bold'>{escape(title)}</text>"
    )
