"""The report's figures: plain arrays in, SVG text out.

Matplotlib is loaded on first use and driven only through its Figure: no window, no global state, the same bytes for the
same numbers. The colours are those of Okabe and Ito, which readers with any colour vision can distinguish; panels carry
names too, so nothing depends on colour only.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy

from haarflow.run.samplers import SAMPLERS

INK, GREY, FAINT = "#1a1a1a", "#6b6b6b", "#9a9a9a"
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#f0e442")
# the same sampler, the same colour
KNOWN = {name: row.colour for name, row in SAMPLERS.items() if row.colour is not None}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "haarflow",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def _styled(draw: Callable[..., str]) -> Callable[..., str]:
    """Draw in the report's style and restore matplotlib's settings afterwards."""

    @functools.wraps(draw)
    def styled(*args: Any, **words: Any) -> str:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **words)

    return styled


class Panel(NamedTuple):
    """One sampler's part of a figure: `series` and, for weighted draws, `weights` of mean 1 are `(draw, chain)`."""

    name: str
    caption: str
    series: numpy.ndarray
    weights: numpy.ndarray | None = None


class Bar(NamedTuple):
    """The probability of one whole number with its error (None: unknown)."""

    value: float
    error: float | None


@_styled
def training(cpu_s: Sequence[float], loss: Sequence[float], ess: Sequence[float], floor: float | None = None) -> str:
    """Return loss and ESS against CPU seconds in two panels; `floor` is the loss of a perfect model."""
    figure, (above, below) = _figure((5.0, 4.2), rows=2, sharex=True)
    above.plot(cpu_s, loss, color=INK)
    if floor is not None:
        above.axhline(floor, color=INK, linestyle="--", linewidth=1.0)
        above.annotate("−ln Z, exact", (1.0, floor), xycoords=("axes fraction", "data"), xytext=(0, -3),
                       textcoords="offset points", ha="right", va="top", fontsize=9)  # fmt: skip
    above.set_ylabel("loss")
    above.set_ylim(*_loss_range(numpy.asarray(loss, dtype=float), floor))
    below.plot(cpu_s, ess, color=INK)
    below.set_ylim(0.0, 1.0)
    below.set_ylabel("ESS of the weights")
    below.set_xlabel("CPU seconds of training, compilation included")
    below.set_xlim(left=0.0 if 2.0 * cpu_s[0] < cpu_s[-1] else None)  # a short training would vanish beside compilation
    return _svg(figure)


@_styled
def residuals(couplings: Sequence[float], sigma: Sequence[float]) -> str:
    """Return the residual of Luescher's equation against the coupling, on a logarithmic scale."""
    figure, axes = _figure((5.0, 3.4))
    axes.semilogy(couplings, sigma, color=INK, marker="o", markersize=4)
    axes.set_xlabel("b")
    axes.set_ylabel("σ(r) / √V")
    return _svg(figure)


@_styled
def curves(axis: str, panels: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float, float]]]]]) -> str:
    """Return panels `(label, {name: [(place, value, error), ...]})` one beside the other, points with their errors."""
    figure, axes = _figure((7.5, 3.2), columns=len(panels))
    for one, (label, series) in zip(axes.flat, panels, strict=True):
        for (name, points), colour, marker in zip(series.items(), COLOURS[::2], "osD", strict=False):
            place, value, error = zip(*points, strict=True)
            one.errorbar(place, value, yerr=error, label=name, color=colour, marker=marker, markersize=4, capsize=2)
        one.set_xlabel(axis)
        one.set_ylabel(label)
        one.legend(fontsize=9)
    return _svg(figure)


def _loss_range(loss: numpy.ndarray, floor: float | None) -> tuple[float, float]:
    """The range that shows where the training ended rather than its first steps."""
    seen = loss[numpy.isfinite(loss)]
    if not seen.size:
        return 0.0, 1.0
    low = float(seen.min()) if floor is None else min(float(seen.min()), floor)
    high = max(float(numpy.quantile(seen, 0.9)), float(seen[-1]))
    margin = 0.08 * (high - low) or 1.0
    below = margin if floor is None else 3.0 * margin  # room for the floor's name, below every loss but its noise
    return low - below, high + margin


@_styled
def history(
    panels: Sequence[Panel],
    label: str,
    exact: Mapping[float, float] | None = None,
    draws: int = 2000,
    wide: bool = True,
) -> str:
    """Return the histories of one observable, a panel per sampler, with its distribution on the right.

    Whole numbers share one scale, others have their panel's own. The first chain is drawn in colour; up to three more chains in grey if the observable hardly moves. `exact` maps whole
    numbers to their exact probabilities.
    """
    rows, size = len(panels), (10.0 if wide else 4.6, 0.6 + (1.45 if wide else 1.3) * len(panels))
    figure, grid = _figure(size, rows=rows, columns=2, sharey="row", sharex="col", widths=(5.0 if wide else 3.2, 1.0))
    whole = exact is not None or all(is_whole(panel.series) for panel in panels)
    length = min(draws, max(100, min(len(panel.series) for panel in panels)))
    for colour, panel, (left, right) in zip(_colours([panel.name for panel in panels]), panels, grid, strict=True):
        span = _span(panels if whole else [panel], whole)
        _draw_history(left, panel, colour, length)
        _draw_distribution(right, panel, colour, span, exact, whole)
        _title(left, panel, wide)
        left.set_ylabel(_literal(label))
        left.set_ylim(*span)
        left.yaxis.get_major_locator().set_params(nbins=5, integer=whole)
    grid[0][0].set_xlim(0, length)
    cut = any(len(panel.series) > length for panel in panels)
    grid[-1][0].set_xlabel(f"draw number (the first {length:,})" if cut else "draw number")
    grid[-1][1].set_xlabel("all draws")
    grid[-1][1].set_xlim(left=0.0)
    return _svg(figure)


def _title(axes: Any, panel: Panel, wide: bool) -> None:
    axes.set_title(_literal(panel.name), loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=5)
    if wide:
        axes.set_title(_literal(panel.caption), loc="right", fontsize=9.5, color=INK, pad=5)


def _literal(text: str) -> str:
    """Text that matplotlib draws as it stands: a name with two dollars is no formula, one that begins with _ is shown."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def _draw_history(axes: Any, panel: Panel, colour: str, length: int) -> None:
    shown = panel.series[:length]
    steps = numpy.arange(len(shown))
    if panel.weights is not None:
        _dots(axes, steps, shown[:, 0], panel.weights[:length, 0], colour)
        return
    others = shown[:, 1:4] if hardly_moves(panel.series) else shown[:, :0]
    for chain in others.T:
        axes.plot(steps, chain, color=FAINT, linewidth=1.2, drawstyle="steps-post")
    axes.plot(steps, shown[:, 0], color=colour, linewidth=0.8 if not others.size else 2.0, drawstyle="steps-post")


def _dots(axes: Any, x: numpy.ndarray, y: numpy.ndarray, weights: numpy.ndarray, colour: str) -> None:
    """Dots with area proportional to their weight; one path for each of ten sizes keeps the page small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    classes = numpy.clip(numpy.ceil(2.0 * weights), 0, 10)
    for size in range(1, 11):
        points = numpy.repeat(numpy.stack([x, y], axis=-1)[classes == size], 2, axis=0)
        if len(points):
            codes = numpy.tile([Path.MOVETO, Path.LINETO], len(points) // 2)
            axes.add_patch(
                PathPatch(Path(points, codes), capstyle="round", linewidth=1.7 * size**0.5, edgecolor=colour)
            )


def hardly_moves(series: numpy.ndarray) -> bool:
    """Return whether chains `(draw, chain)` change in fewer than one step of twenty."""
    return bool(len(series) > 1 and numpy.mean(numpy.diff(series, axis=0) != 0) < 0.05)


def _draw_distribution(
    axes: Any, panel: Panel, colour: str, span: tuple[float, float], exact: Mapping[float, float] | None, whole: bool
) -> None:
    edges = numpy.arange(numpy.ceil(span[0]) - 0.5, span[1] + 0.5) if whole else numpy.linspace(*span, 41)
    weights = None if panel.weights is None else numpy.ravel(panel.weights)
    counts, edges = numpy.histogram(numpy.ravel(panel.series), edges, weights=weights)
    middles, widths = (edges[1:] + edges[:-1]) / 2, numpy.diff(edges)
    shares = counts / counts.sum() / (1.0 if whole else widths)
    axes.barh(middles, shares, height=widths * (0.7 if whole else 1.0), color=colour, alpha=0.85, linewidth=0)
    if exact:
        inside = {value: p for value, p in exact.items() if span[0] < value < span[1] and p > 1e-3}
        axes.plot(list(inside.values()), list(inside), "o", color=INK, markersize=3.5, markerfacecolor="none")
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _span(panels: Sequence[Panel], whole: bool) -> tuple[float, float]:
    highest = max(float(numpy.quantile(numpy.abs(panel.series), 0.9999)) for panel in panels)
    low = min(float(numpy.min(panel.series)) for panel in panels)
    if whole:
        return (-numpy.ceil(highest) - 0.8 if low < 0 else -0.8), numpy.ceil(highest) + 0.8
    if low < 0:
        return -1.1 * highest, 1.1 * highest
    margin = 0.05 * (highest - low) or 1.0
    return low - margin, highest + margin


def is_whole(series: numpy.ndarray) -> bool:
    """Return whether all values are whole numbers."""
    return bool(numpy.all(series == numpy.round(series)))


@_styled
def probabilities(found: Mapping[str, Mapping[int, Bar]], exact: Mapping[int, float] | None, label: str) -> str:
    """Return p(n) for whole numbers n on a log scale: a group of bars at each n, the exact values as black lines."""
    figure, axes = _figure((5.0, 4.2))
    numbers = sorted({number for bars in found.values() for number in bars} | set(exact or ()))
    width = 0.8 / len(found)
    least = min([bar.value for bars in found.values() for bar in bars.values() if bar.value > 0], default=1e-3)
    for index, (colour, (name, bars)) in enumerate(zip(_colours(list(found)), found.items(), strict=True)):
        centres = [number - 0.4 + width * (index + 0.5) for number in bars]
        values = [bar.value for bar in bars.values()]
        axes.bar(centres, values, width=0.92 * width, color=colour, linewidth=0, label=_literal(name))
        known = [(x, bar.value, bar.error) for x, bar in zip(centres, bars.values(), strict=True) if bar.error]
        if known:
            axes.errorbar(*zip(*[(x, y) for x, y, _ in known], strict=True), yerr=[e for *_, e in known], fmt="none",
                          ecolor=INK, elinewidth=0.9)  # fmt: skip
    for index, (number, p) in enumerate((exact or {}).items()):
        axes.plot([number - 0.45, number + 0.45], [p, p], color=INK, linewidth=1.3, label=None if index else "exact")
    low = min([p for p in (exact or {}).values() if p > 0], default=least)
    axes.set_yscale("log")
    axes.set_ylim(0.5 * low, 1.6)
    axes.set_xticks(numbers if len(numbers) < 16 else numbers[::2])
    axes.set_xlabel(_literal(label))
    axes.set_ylabel(_literal(f"p({label})"))
    _legend_above(axes)
    return _svg(figure)


@_styled
def weights(found: Mapping[str, tuple[numpy.ndarray, float]], label: str, samplers: Sequence[str] = ()) -> str:
    """Return the histogram of the log weights of each flow, `name -> (log_w - ln Z, ESS)`, one panel and scale each.

    `samplers` are all of the run, so that each has its colour in every figure. Filled: the share of draws; line: the share of weight, which shows where the target lies.
    """
    rows = len(found)
    figure, grid = _figure((5.0, max(4.2, 1.0 + 1.6 * rows)), rows=rows)
    colours = dict(zip(samplers or found, _colours(list(samplers or found)), strict=True))
    for axes, (name, (log_w, ess)) in zip(numpy.ravel(grid), found.items(), strict=True):
        flat, colour = numpy.ravel(log_w)[numpy.isfinite(numpy.ravel(log_w))], colours[name]
        low, high = (numpy.quantile(flat, 0.002), flat.max()) if flat.size else (-1.0, 1.0)
        edges = numpy.linspace(low - 0.2, high + 0.2, 61)
        axes.hist(flat, edges, weights=numpy.full(flat.size, 1 / flat.size), color=colour, alpha=0.55, label="draws")
        relative = numpy.exp(flat - flat.max()) if flat.size else flat
        axes.hist(
            flat, edges, weights=relative / relative.sum(), histtype="step", color=INK, linewidth=1.3, label="weight"
        )
        axes.axvline(0.0, color=GREY, linestyle="--", linewidth=1.0)
        axes.set_title(_literal(name), loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_title(f"ESS {ess:.3f} of {numpy.size(log_w):,}", loc="right", fontsize=9.5, color=INK)
        axes.set_ylabel("share")
        axes.set_ylim(bottom=0.0)
    last = numpy.ravel(grid)[-1]
    last.set_xlabel(label)
    numpy.ravel(grid)[0].legend(loc="upper left", fontsize=9)
    return _svg(figure)


@_styled
def densities(panels: Sequence[Panel], label: str) -> str:
    """Return the probability densities of one real observable, all samplers in one figure."""
    figure, axes = _figure((5.0, 4.2))
    edges = numpy.linspace(*_span(panels, whole=False), 61)
    for colour, panel in zip(_colours([panel.name for panel in panels]), panels, strict=True):
        row = None if panel.weights is None else numpy.ravel(panel.weights)
        axes.hist(numpy.ravel(panel.series), edges, weights=row, density=True, histtype="step", linewidth=1.5,
                  color=colour, label=_literal(panel.name))  # fmt: skip
    axes.set_xlabel(_literal(label))
    axes.set_ylabel("probability density")
    _legend_above(axes)
    return _svg(figure)


@_styled
def correlator(found: Mapping[str, Any], label: str) -> str:
    """Return C(t) on a log scale above its effective mass, if any, `name -> (estimates of C, estimates of m)`."""
    massive = any(one.value is not None for _, masses in found.values() for one in masses)
    figure, panels = _figure((5.0, 4.6 if massive else 3.0), rows=1 + massive, sharex=True)
    panels = numpy.ravel(panels)
    for index, (colour, (name, curves)) in enumerate(zip(_colours(list(found)), found.items(), strict=True)):
        shift = 0.08 * (index - 0.5 * (len(found) - 1))
        for axes, first, curve in zip(panels, (0, 1), curves, strict=False):
            points = [(first + t + shift, one) for t, one in enumerate(curve) if one.value is not None]
            errors = [one.error or 0.0 for _, one in points]
            axes.errorbar([t for t, _ in points], [one.value for _, one in points], yerr=errors, fmt="o", markersize=3.5,
                          color=colour, elinewidth=1.0, label=_literal(name))  # fmt: skip
    panels[0].set_yscale("log")
    for axes, word in zip(panels, (_literal(f"{label}(t)"), "effective mass"), strict=False):
        axes.set_ylabel(word)
        axes.margins(y=0.1)
    panels[-1].set_xlabel("t")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    _legend_above(panels[0])
    return _svg(figure)


def _legend_above(axes: Any) -> None:
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    axes.legend(**place, fontsize=9, columnspacing=1.2, handlelength=1.4)


def _colours(names: Sequence[str]) -> list[str]:
    """One colour per sampler: that of its row, or for other names the next free one."""
    free = itertools.cycle([index for index in range(len(COLOURS)) if index not in map(KNOWN.get, names)])
    return [COLOURS[KNOWN[name] if name in KNOWN else next(free)] for name in names]


def _figure(size: tuple[float, float], rows: int = 1, columns: int = 1, widths: Any = None, **shared: Any) -> Any:
    """A figure with its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    ratios = {"width_ratios": widths} if widths else {}
    return figure, figure.subplots(rows, columns, gridspec_kw=ratios, squeeze=columns == 1, **shared)


_drawn = re.compile(r'(\bid="|url\(#|href="#)')


def _svg(figure: Any) -> str:
    """The figure as one <svg> element without prologue, metadata or fixed size."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    head, mark, body = svg[svg.index("<svg") :].partition(">")
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    return head + mark + re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)


def in_page(svg: str, name: str) -> str:
    """Return an SVG ready to be one of several in a page: its ids begin with `name`."""
    return _drawn.sub(rf"\g<1>{name}-", svg)
