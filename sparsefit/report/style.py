"""How figures look: colours that also differ in lightness, markers, axes, and a figure as files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Inches of a figure over two columns of a page; the text in it is 7 to 8 points."""

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.hashsalt": "sparsefit",
    "savefig.dpi": 150,
}
"""Settings of matplotlib; names of workloads are text, never formulas, hence no math."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", (0, (6, 1.2, 1, 1.2, 1, 1.2)))
"""Dotted is linear scaling."""
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
"""Okabe and Ito's colours for things without an order."""

STATUS_STYLES: dict[str, dict[str, Any]] = {
    "not_reached": {"marker": "^", "color": "#8c8c8c", "label": "incomplete: goal not reached"},
    "capped": {
        "marker": "^",
        "color": "#b0b0b0",
        "mfc": "none",
        "label": "stopped early: more steps could not win",
    },
    "diverged": {"marker": "x", "color": "#c1272d", "label": "infeasible: diverged"},
    "reached": {"marker": "o", "color": "#0072b2", "label": "complete: goal reached"},
    "best": {
        "marker": "*",
        "color": "#f0b400",
        "mec": "black",
        "mew": 0.5,
        "ms": 8,
        "label": "best: fewest steps",
    },
}
"""How a trial is drawn by how it ended, in the order of drawing."""

UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata that would differ from one run to the next, left out."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 48


class Files(NamedTuple):
    """A figure as files."""

    png: bytes
    svg: bytes


def render(draw: Callable[[pd.DataFrame], Figure], frame: pd.DataFrame) -> Files:
    """Draw a frame and return the figure as PNG and SVG, the same bytes for the same frame."""
    return Files(*save(partial(draw, frame), ("png", "svg")))


def save(draw: Callable[[], Figure], kinds: Sequence[str], settings: Any = None) -> list[bytes]:
    """Draw a figure with `RC` and other settings of matplotlib and return it as files of some kinds."""
    from matplotlib import rc_context

    contents = []
    with rc_context(RC), rc_context(settings), warnings.catch_warnings():
        # A workload may be named in a script that the font lacks: the box drawn instead is enough said.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = draw()
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)  # once, not again for each file
        figure.set_layout_engine("none")
        for kind in kinds:
            content = io.BytesIO()
            figure.savefig(content, format=kind, metadata=UNDATED.get(kind))
            contents.append(content.getvalue())
    return contents


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(n: int, columns: int, height: float = 2.1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with n axes in rows of `columns`."""
    columns = max(min(n, columns), 2)
    rows = -(-n // columns)
    figure = new_figure(height * rows + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for axes in grid[n:]:
        axes.set_visible(False)
    return figure, list(grid[:n])


def in_order(index: int, count: int) -> dict[str, Any]:
    """Return colour, marker and line of one of `count` things that have an order, dark to light."""
    from matplotlib import colormaps

    color = colormaps["viridis"](0.85 * index / max(count - 1, 1))
    return {"color": color, "marker": MARKERS[index % len(MARKERS)], "linestyle": LINES[index % len(LINES)]}


def in_kind(index: int) -> dict[str, Any]:
    """Return colour, marker and line of one of several things without an order."""
    return {
        "color": CATEGORIES[index % len(CATEGORIES)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def power(exponent: float, base: int = 10) -> str:
    """Return ``2⁷`` without a formula."""
    return f"{base}{str(round(exponent)).translate(SUPERSCRIPTS)}"


def log_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float, base: int = 2) -> None:
    """Make an axis logarithmic over a range, with at most six labels: powers of the base, or its values."""
    scale = 10**0.06 if base == 10 else 2**0.4
    bottom, top = low / scale, high * scale
    getattr(axes, f"set_{which}scale")("log", base=base)
    first, last = np.ceil(np.log(bottom) / np.log(base)), np.floor(np.log(top) / np.log(base))
    exponents = np.arange(first, last + 1, max(1, np.ceil((last - first + 1) / 6)))
    axis = getattr(axes, f"{which}axis")
    if len(exponents) > 1:
        axis.set_ticks([float(base) ** e for e in exponents], labels=[power(e, base) for e in exponents])
    else:
        values = [low] if low == high else round_values(bottom, top)
        axis.set_ticks(values, labels=[plain_number(value) for value in values])
    axis.set_ticks([], minor=True)
    getattr(axes, f"set_{which}lim")(bottom, top)


def round_values(low: float, high: float) -> list[float]:
    """Return a few values of one digit within a narrow range, or its middle to three digits."""
    tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = sorted(float(digit * ten) for digit in digits for ten in tens if low <= digit * ten <= high)
        if len(found) > 1:
            return found
    return [float(f"{np.sqrt(low * high):.3g}")]


def plain_number(value: float) -> str:
    """Return a number of few digits without ``e``."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    if -3 <= exponent <= 4:
        return f"{value:g}"
    digits = value / 10.0**exponent
    return power(exponent) if round(digits, 2) == 1 else f"{digits:.3g}·{power(exponent)}"


def positive_range(*values: Any) -> tuple[float, float]:
    """Return the least and the largest positive finite value, (1, 2) if there is none."""
    flat = np.concatenate([np.asarray(part, dtype=float).ravel() for part in values])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    return (float(flat.min()), float(flat.max())) if len(flat) else (1.0, 2.0)


def legible(text: object, longest: int = LONGEST) -> str:
    """Return a user's text on one line, short enough for a legend, which hides what starts with _."""
    line = "".join(c if c.isprintable() else " " for c in str(text)).strip()
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    return f" {line}" if line.startswith("_") else line


def sparsity_label(sparsity: float) -> str:
    """Return ``sparsity 0.9`` or ``dense``."""
    return f"sparsity {sparsity:g}" if sparsity else "dense"


def legend_below(figure: Figure, axes: Sequence[Axes], columns: int = 5) -> None:
    """Put one legend of all axes under the figure, each label once."""
    found: dict[str, Any] = {}
    for part in axes:
        for handle, label in zip(*part.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=min(columns, len(found))
        )
