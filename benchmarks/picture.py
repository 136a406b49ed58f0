"""docs/benchmarks.svg: the ratios of the costs, and what rolling updates lost."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, LABEL, BAR = 860, 24, 290, 400
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .soft { fill: #59636e }
  .bar { fill: #2f6f4f } .lost { fill: #b3261e } .rule { stroke: #59636e; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .soft { fill: #9198a1 } .rule { stroke: #9198a1 }
    .bar { fill: #4fa37a } .lost { fill: #f2695f }
  }
"""


def picture(results: Mapping[str, Any]) -> str:
    """Two charts of bars, one below the other."""
    upper, height = ratio_bars(results["costs"], 30)
    lower, height = loss_bars(results["rollouts"], height + 30)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 10}" role="img" '
        f'aria-label="Ratios to a bare service, and requests lost in rolling updates">\n<style>{STYLE}</style>\n'
        + "\n".join([*upper, *lower])
        + "\n</svg>\n"
    )


def ratio_bars(costs: Mapping[str, Mapping[str, Any]], top: int) -> tuple[list[str], int]:
    rows = [(name, found["ratio"]) for name, found in costs.items()]
    scale = BAR / max(1.2, *(ratio for _, ratio in rows))
    drawn = [text(10, top, "Service to bare service", "title"), text(LABEL + scale, top, "1", "soft", "middle")]
    for at, (name, ratio) in enumerate(rows):
        drawn += bar(top + 12 + at * ROW, name, ratio * scale, f"× {ratio:.2f}", "bar")
    bottom = top + 12 + len(rows) * ROW
    line = LABEL + scale
    drawn.append(f'<line class="rule" x1="{line:.0f}" x2="{line:.0f}" y1="{top + 6}" y2="{bottom}"/>')
    return drawn, bottom


def loss_bars(rollouts: Sequence[Mapping[str, Any]], top: int) -> tuple[list[str], int]:
    scale = BAR / max(1, *(row["lost"] for row in rollouts))
    drawn = [text(10, top, "Requests lost in a rolling update", "title")]
    for at, row in enumerate(rollouts):
        name = f"{row['replicas']} pods, {'the service' if row['variant'] == 'service' else row['variant']}"
        said = f"{row['lost']:,} of {row['requests']:,} in {row['seconds']:.0f} s"
        drawn += bar(top + 12 + at * ROW, name, row["lost"] * scale, said, "lost")
    return drawn, top + 12 + len(rollouts) * ROW


def bar(y: int, name: str, length: float, said: str, kind: str) -> list[str]:
    return [
        text(LABEL - 8, y + 14, name, "soft", "end"),
        f'<rect class="{kind}" x="{LABEL}" y="{y + 3}" width="{max(length, 1):.0f}" height="{ROW - 8}" rx="2"/>',
        text(LABEL + max(length, 1) + 6, y + 14, said),
    ]


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'
