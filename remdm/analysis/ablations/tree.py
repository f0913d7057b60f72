"""The decision tree as a picture, with the way that the results take."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.analysis.ablations.decision import TREE, Path
from remdm.analysis.style import new_figure

# Centres of the boxes, in units of a box.
PLACES = {
    "collapse": (2.4, 0.0),
    "prevents": (1.2, 1.0),
    "improves": (3.9, 1.0),
    "constrained": (0.5, 2.0),
    "drift": (2.1, 2.0),
    "build": (3.4, 2.0),
    "stop": (4.5, 2.0),
    "constrain": (0.0, 3.0),
    "change": (1.0, 3.0),
    "stronger": (2.0, 3.0),
    "signal": (3.0, 3.0),
}


def draw_tree(path: Path) -> Figure:
    """All questions; the way taken is drawn bold, and a question without an answer dashed."""
    figure, (ax,) = new_figure(12, 5)
    taken = dict(path.answers)
    on_way = {*taken, path.end}
    for name, node in TREE.items():
        for answer, child in ((True, node.yes), (False, node.no)):
            if child is not None:
                _draw_edge(ax, name, child, "yes" if answer else "no", bold=taken.get(name) is answer)
    for name in TREE:
        _draw_box(ax, name, bold=name in on_way, open_question=name == path.end and not path.is_whole)
    ax.set_xlim(-0.6, 5.1)
    ax.set_ylim(3.5, -0.5)
    ax.set_axis_off()
    return figure


def _draw_edge(ax: Axes, parent: str, child: str, word: str, bold: bool) -> None:
    (x0, y0), (x1, y1) = PLACES[parent], PLACES[child]
    colour, width = ("#222222", 2.5) if bold else ("#aaaaaa", 1.0)
    ax.plot([x0, x1], [y0, y1], color=colour, linewidth=width, zorder=1)
    ax.text(
        (x0 + x1) / 2,
        (y0 + y1) / 2,
        word,
        ha="center",
        va="center",
        fontsize=8,
        weight="bold" if bold else "normal",
        color=colour if bold else "#666666",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _draw_box(ax: Axes, name: str, bold: bool, open_question: bool) -> None:
    is_end = TREE[name].yes is None
    text = TREE[name].text + ("\n(not known: results are missing)" if open_question else "")
    ax.text(
        *PLACES[name],
        text,
        ha="center",
        va="center",
        fontsize=8,
        color="#111111" if bold else "#666666",
        weight="bold" if bold and is_end else "normal",
        bbox={
            "boxstyle": "round,pad=0.5" if is_end else "square,pad=0.5",
            "facecolor": "#ffe9b0" if bold else "#f7f7f7",
            "edgecolor": "#222222" if bold else "#bbbbbb",
            "linewidth": 2.0 if bold else 0.8,
            "linestyle": "--" if open_question else "-",
        },
        zorder=2,
    )
