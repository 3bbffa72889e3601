"""Draws bars from standard input, as JSON of bench/plot.py, into the SVG file that is its argument."""

import json
import sys

from matplotlib import pyplot

INK = "#808890"  # readable on white and on black, since the file is shown on both
BUILT_IN, PEERS = "#2f81f7", "#a0a8b0"
STYLE = {
    "svg.fonttype": "none",  # text, not outlines
    "svg.hashsalt": "bench",  # makes the file reproducible
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
NO_DATES = {"Date": None, "Creator": None}


def main() -> None:
    document = json.load(sys.stdin)
    bars = document["bars"]
    with pyplot.rc_context(STYLE):
        size = (10, 0.8 + 0.28 * len(bars))
        figure, (rate, cpu) = pyplot.subplots(1, 2, sharey=True, layout="constrained", figsize=size)
        panel(rate, bars, "rate", f"requests/s at {document['connections']} connections: more is better")
        panel(cpu, bars, "cpu", "µs of CPU per request: less is better")
        rate.invert_yaxis()
        figure.savefig(sys.argv[1], format="svg", transparent=True, metadata=NO_DATES)


def panel(axes, bars, kind, label) -> None:
    """One bar a row, with its median and a whisker over the range of the rounds."""
    low, middle, high = ([bar[kind][end] for bar in bars] for end in ("low", "median", "high"))
    whiskers = [[abs(median - end) for median, end in zip(middle, ends, strict=True)] for ends in (low, high)]
    colors = [BUILT_IN if bar["ours"] else PEERS for bar in bars]
    axes.barh([bar["title"] for bar in bars], middle, xerr=whiskers, color=colors, ecolor=INK, capsize=2)
    for place, (median, end) in enumerate(zip(middle, high, strict=True)):
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{median:,.0f}", (end, place), **beside)
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=label, xlim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
