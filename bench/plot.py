#!/usr/bin/env python3
"""Draws the points of bench/sweeps.sh as SVG, one file for each drawing; they look well on light and dark ground.

    plot.py POINTS FOLDER      lines of drawing, how many, whose line and how much, with tabs between
"""

import math
import pathlib
import sys
from collections import defaultdict
from html import escape

DRAWINGS = {
    "clients": ("Processor time of the server for a claim that is refused", "clients, one claim in flight each", "µs"),
    "waiters": ("Time for each place told, while a line moves", "clients that wait in the line", "µs"),
    "sales": ("Processor time of the server for a claim that is refused", "sales that 1,000 clients claim from in turn", "µs"),
    "instances": ("Claims decided, on two cores with everything else", "instances", "a second"),
    "workers": ("Claims decided, on two cores with everything else", "worker processes of one instance", "a second"),
}
WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 48
# Blue, orange, green: told apart by who sees few colours, on white and on black.
COLOURS = ("#3b82d6", "#e07b2a", "#2f9e63")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #8884; stroke-width: 1 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""


def steps(most: float) -> list[float]:
    """Round values from 0 to at least the most."""
    size = 10 ** math.floor(math.log10(most / 4))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * 5 >= most)
    return [step * index for index in range(math.ceil(most / step) + 1)]


def draw(name: str, lines: dict[str, list[tuple[float, float]]]) -> str:
    title, along, unit = DRAWINGS[name]
    xs = sorted({x for points in lines.values() for x, _ in points})
    ticks = steps(max(y for points in lines.values() for _, y in points))
    is_logarithmic = xs[-1] / xs[0] > 8
    scale = math.log if is_logarithmic else float
    span = (scale(xs[-1]) - scale(xs[0])) or 1

    def across(x: float) -> float:
        return LEFT + (scale(x) - scale(xs[0])) / span * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - y / ticks[-1] * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}, by {escape(along)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
    ]
    for y in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(y) + 4:.1f}" text-anchor="end">{y:,.10g}</text>')
    for x in xs:
        parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,.10g}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">{escape(unit)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{escape(along)}</text>')
    place = LEFT
    for (line, points), colour in zip(lines.items(), COLOURS):
        path = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in sorted(points))
        parts.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        parts.append(f'<circle cx="{place + 5}" cy="40" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{place + 16}" y="44">{escape(line)}</text>')
        place += 40 + 7 * len(line)
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    drawings: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
        name, x, series, y = line.split("\t")
        drawings[name][series].append((float(x), float(y)))
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in drawings.items():
        (folder / f"{name}.svg").write_text(draw(name, lines))


if __name__ == "__main__":
    main()
