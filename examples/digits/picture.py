"""The rollout as a picture: who answered, what was wrong with the answers, and how long they took, over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from load import Answer, quantile
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart with any colour vision, and in print.
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
INK, QUIET, GRID = "#1f2933", "#66727f", "#e4e8ec"
TROUBLE, FAILED = "#D55E00", "#000000"
BIN_S = 1.0
CROWDED = 0.17  # of the axis: two names side by side
Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Moment:
    """Something that happened: a drop (`is_drop`) or a rollout's end."""

    at: float
    text: str
    is_drop: bool = False


@dataclass(frozen=True)
class Asked:
    """The split in force from a time on: whole percents by version."""

    at: float
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Series:
    """What is drawn, one value a bin. `shares` sum to 1 where there were answers; NaN is a gap."""

    edges: Values  # of the bins: one more than there are bins
    shares: dict[str, Values]
    p95_ms: dict[str, Values]
    nonfinite: Values  # share of all answers
    failed: Values


def series(answers: Sequence[Answer], bin_s: float = BIN_S) -> Series:
    """Put some answers, at least one, into bins of time by when they were asked for."""
    versions = sorted({a.version for a in answers if a.version})
    bins: list[list[Answer]] = [[] for _ in range(int(max(a.at for a in answers) // bin_s) + 1)]
    for answer in answers:
        bins[int(answer.at // bin_s)].append(answer)
    of = {v: [[a for a in group if a.version == v] for group in bins] for v in versions}
    answered = [sum(len(of[v][i]) for v in versions) for i in range(len(bins))]
    return Series(
        edges=np.arange(len(bins) + 1) * bin_s,
        shares={v: _shares([len(g) for g in of[v]], answered) for v in versions},
        p95_ms={v: np.array([_p95_ms(group) for group in of[v]]) for v in versions},
        nonfinite=_shares([sum(a.nonfinite for a in g) for g in bins], [len(g) for g in bins]),
        failed=_shares([sum(a.is_failed for a in g) for g in bins], [len(g) for g in bins]),
    )


def _shares(parts: Sequence[int], wholes: Sequence[int]) -> Values:
    return np.array([part / whole if whole else np.nan for part, whole in zip(parts, wholes, strict=True)])


def _p95_ms(answers: Sequence[Answer]) -> float:
    return quantile([a.seconds * 1000 for a in answers], 0.95) if answers else float("nan")


@dataclass(frozen=True)
class Scene:
    """All that the picture shows. `names` says how each version is called in it."""

    answers: Sequence[Answer]
    moments: Sequence[Moment]
    splits: Sequence[Asked]
    names: Mapping[str, str]
    headline: str
    subtitle: str = ""


def draw(scene: Scene) -> Figure:
    drawn = series(scene.answers)
    with mpl.rc_context({"font.size": 10, "font.family": "DejaVu Sans", "svg.hashsalt": "modeldrop"}):
        figure, axes = plt.subplots(
            3, 1, figsize=(11, 7.2), sharex=True, height_ratios=(3.2, 1, 1.3), gridspec_kw={"hspace": 0.33}
        )
        figure.subplots_adjust(left=0.065, right=0.975, top=0.795, bottom=0.075)
        figure.text(0.02, 0.945, scene.headline, size=15, weight="bold", color=INK)
        figure.text(0.02, 0.91, scene.subtitle, color=QUIET)
        _draw_shares(axes[0], drawn, scene)
        _draw_trouble(axes[1], drawn)
        _draw_latency(axes[2], drawn)
        for axis in axes:
            _quieten(axis, float(drawn.edges[-1]))
        _draw_moments(axes, scene.moments, float(drawn.edges[-1]))
        axes[2].set_xlabel("seconds since the first request", color=QUIET)
    return figure


def save(figure: Figure, folder: Path) -> list[Path]:
    """Write rollout.png and rollout.svg and return their paths."""
    paths = [folder / "rollout.png", folder / "rollout.svg"]
    for path in paths:
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths


def _colours(drawn: Series) -> dict[str, str]:
    return {version: COLOURS[i % len(COLOURS)] for i, version in enumerate(drawn.shares)}


def _steps(values: Values) -> Values:
    """Return the values of bins at their edges, as `step="post"` wants them."""
    return np.append(values, values[-1])


def _draw_shares(axis: Axes, drawn: Series, scene: Scene) -> None:
    colours, floor = _colours(drawn), np.zeros(len(drawn.edges) - 1)
    for version, share in drawn.shares.items():
        top = floor + np.nan_to_num(share) * 100
        axis.fill_between(drawn.edges, _steps(floor), _steps(top), step="post", color=colours[version], linewidth=0)
        _name_area(axis, scene.names.get(version, version), (drawn.edges, floor, top), colours[version])
        floor = top
    _draw_splits(axis, scene.splits, list(drawn.shares), float(drawn.edges[-1]))
    axis.set_ylim(0, 100)
    axis.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    _title(axis, "who answered, share of requests", ("╌╌ the split that was asked for", QUIET), lift=34)


def _draw_splits(axis: Axes, splits: Sequence[Asked], versions: Sequence[str], end: float) -> None:
    """Draw each border between two versions where the split puts it, and write a canary's percents on it."""
    times = [*(asked.at for asked in splits), end]
    for i in range(1, len(versions)):
        below = [float(sum(asked.weights.get(v, 0) for v in versions[:i])) for asked in splits]
        borders = [level if 0 < level < 100 else np.nan for level in (*below, below[-1] if below else 0)]
        axis.step(times, borders, where="post", color="white", linewidth=1.6, linestyle=(0, (4, 2)))
        for at, level in zip(times, borders[:-1], strict=False):
            if np.isfinite(level):
                axis.text(at + 0.3, level - 2, f"{100 - level:.0f} %", color="white", size=9, weight="bold", va="top")


def _name_area(axis: Axes, name: str, area: tuple[Values, Values, Values], colour: str) -> None:
    """Write a version's name into the thick of its area, else beside its peak."""
    edges, bottom, top = area
    thick = np.flatnonzero(top - bottom >= 0.9 * (top - bottom).max())
    i = thick[len(thick) // 2]
    middle = (edges[i], (top[i] + bottom[i]) / 2)
    if top[i] - bottom[i] >= 30:
        plate = {"boxstyle": "round,pad=0.3", "fc": colour, "ec": "none"}  # lines pass behind the name
        axis.text(*middle, name, ha="center", va="center", color="white", weight="bold", size=13, bbox=plate)
        return
    axis.annotate(
        name,
        middle,
        xytext=(-34, -58),
        textcoords="offset points",
        ha="right",
        color="white",
        weight="bold",
        size=11,
        arrowprops={"arrowstyle": "-", "color": "white", "lw": 1.2},
        bbox={"boxstyle": "round,pad=0.35", "fc": colour, "ec": "white", "lw": 1.2},
    )


def _draw_trouble(axis: Axes, drawn: Series) -> None:
    nonfinite, failed = np.nan_to_num(drawn.nonfinite) * 100, np.nan_to_num(drawn.failed) * 100
    axis.fill_between(drawn.edges, 0, _steps(nonfinite), step="post", color=TROUBLE, linewidth=0)
    axis.step(drawn.edges, _steps(failed), where="post", color=FAILED, linewidth=2)
    axis.set_ylim(0, max(4.0, 1.3 * nonfinite.max(), 1.3 * failed.max()))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    _title(axis, "what was wrong, share of requests", ("■ answered, but not a number", TROUBLE), ("━ failed", FAILED))


def _draw_latency(axis: Axes, drawn: Series) -> None:
    middles = (drawn.edges[1:] + drawn.edges[:-1]) / 2
    for (version, p95), colour in zip(drawn.p95_ms.items(), _colours(drawn).values(), strict=True):
        axis.plot(middles, p95, color=colour, linewidth=1.8, marker="o", markersize=3)
        last = np.flatnonzero(np.isfinite(p95))[-1]
        place = (middles[last], p95[last])
        axis.annotate(
            version, place, xytext=(0, -15), textcoords="offset points", ha="right", color=colour, weight="bold"
        )
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g} ms")
    axis.margins(y=0.2)
    _title(axis, "how long answers took, 95th percentile of each second")


def _title(axis: Axes, title: str, *legend: tuple[str, str], lift: float = 6) -> None:
    """Write a panel's title at its left and its legend at its right, `lift` points above it."""
    axis.set_title(title, loc="left", size=10, color=QUIET, pad=lift)
    pieces: list[Artist] = [TextArea(text, textprops={"color": colour, "size": 10}) for text, colour in legend]
    if pieces:
        packed = HPacker(children=pieces, sep=14, pad=0, align="baseline")
        above = axis.transAxes + ScaledTranslation(0, (lift - 4) / 72, axis.figure.dpi_scale_trans)
        box = AnchoredOffsetbox(
            "lower right", child=packed, frameon=False, pad=0, borderpad=0, bbox_to_anchor=(1, 1), bbox_transform=above
        )
        axis.add_artist(box)


def _quieten(axis: Axes, end: float) -> None:
    axis.set_xlim(0, end)
    axis.grid(axis="y", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=QUIET, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(GRID)


def _draw_moments(axes: Any, moments: Sequence[Moment], end: float) -> None:
    """Draw a line for each moment: a drop's name stands right of its line, an end's left of it."""
    for i, moment in enumerate(moments):
        for axis in axes:
            axis.axvline(moment.at, color=INK, linewidth=1, linestyle=(0, (1, 2)) if moment.is_drop else "-")
        is_crowded = not moment.is_drop and i > 0 and moment.at - moments[i - 1].at < CROWDED * end
        axes[0].annotate(
            moment.text,
            (moment.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-2 if moment.is_drop else 2, 17 if is_crowded else 4),
            textcoords="offset points",
            ha="left" if moment.is_drop else "right",
            va="bottom",
            color=INK,
            weight="normal" if moment.is_drop else "bold",
        )
