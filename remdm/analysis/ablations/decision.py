"""The decision tree from the scores to the next step, in words and as a figure."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.analysis.ablations.hypotheses import DRIFT, last
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.ablations.standing import COLLAPSE, IMPROVEMENT, UNDECIDED, WORSE, Standing, Standings
from remdm.analysis.style import INK, new_figure
from remdm.config.arms import BASELINE


@dataclass(frozen=True)
class Node:
    """A question with a node for each answer, or an end without answers.

    Attributes:
        place: the centre of its box, in units of a box.
    """

    place: tuple[float, float]
    text: str
    yes: str | None = None
    no: str | None = None

    @property
    def is_end(self) -> bool:
        """Whether it asks nothing."""
        return self.yes is None


TREE = {
    "collapse": Node((2.4, 0), "Does baseline_rl end over 10 %\nbelow the pretrained planner?",
                     "prevents", "improves"),
    "improves": Node((3.9, 1), "Does an arm improve on\nbaseline_rl by over 5 %?", "build", "stop"),
    "prevents": Node((1.2, 1), "Does an arm stay within 10 %\nof the pretrained planner?",
                     "constrained", "drift"),
    "constrained": Node((0.5, 2), "Is the best of them a constraint\n(group A or C)?",
                        "constrain", "change"),
    "drift": Node((2.1, 2), f"Does baseline_rl drift by\nmore than {DRIFT} nats?", "stronger", "signal"),
    "build": Node((3.4, 2), "No collapse to prevent:\nbuild on that arm"),
    "stop": Node((4.5, 2), "No collapse, no gain:\ntrain longer or change the reward"),
    "constrain": Node((0, 3), "Keep the pretrained weights:\nsweep that constraint"),
    "change": Node((1, 3), "Change loss or data:\nsweep that arm"),
    "stronger": Node((2, 3), "Nothing tried holds it: lower learning\nrate, stronger constraints"),
    "signal": Node((3, 3), "It fails without drifting:\nlook at the reward signal"),
}  # fmt: skip
START = "collapse"


@dataclass(frozen=True)
class Path:
    """A path through the tree: questions with their answers, and its end.

    Attributes:
        end: a node without a question, or the question that cannot be answered.
    """

    answers: tuple[tuple[str, bool], ...]
    end: str

    @property
    def is_whole(self) -> bool:
        """Whether every question on the path could be answered."""
        return TREE[self.end].is_end


def decide(suite: Suite, standings: Standings) -> Path:
    """Follow the tree as far as the results answer its questions."""
    answers: list[tuple[str, bool]] = []
    node = START
    while not TREE[node].is_end:
        answer = _answer(node, suite, standings)
        if answer is None:
            break
        answers.append((node, answer))
        node = str(TREE[node].yes if answer else TREE[node].no)
    return Path(tuple(answers), node)


def preventing(standings: Standings) -> list[Standing]:
    """The arms whose whole interval is within 10 % of the pretrained planner, the best first."""
    return [s for s in standings.scored if s.to_pretrained and s.to_pretrained.low >= _lowest(standings)]


def _lowest(standings: Standings) -> float:
    """The difference to the pretrained planner below which a planner has collapsed."""
    return -WORSE * standings.scale


def draw_tree(path: Path) -> Figure:
    """All questions; the path taken is bold, and a question that cannot be answered is dashed."""
    figure, (ax,) = new_figure(12, 5)
    taken = dict(path.answers)
    for name, node in TREE.items():
        _draw_box(ax, node, name in {*taken, path.end}, name == path.end and not path.is_whole)
        for answer, child in ((True, node.yes), (False, node.no)):
            if child is not None:
                _draw_edge(ax, node, TREE[child], "yes" if answer else "no", taken.get(name) is answer)
    ax.set_xlim(-0.6, 5.1)
    ax.set_ylim(3.5, -0.5)
    ax.set_axis_off()
    return figure


def _answer(node: str, suite: Suite, standings: Standings) -> bool | None:
    if node == "collapse":
        return None if standings.collapse in (None, UNDECIDED) else standings.collapse == COLLAPSE
    if node == "improves":
        verdicts = {s.verdict for s in standings.scored}
        return True if IMPROVEMENT in verdicts else None if UNDECIDED in verdicts or not verdicts else False
    if node == "prevents":
        if preventing(standings):
            return True
        reach = [s.to_pretrained.high for s in standings.scored if s.to_pretrained]
        return False if reach and max(reach) < _lowest(standings) else None
    if node == "constrained":
        return preventing(standings)[0].entry.group in ("A", "C")
    drift = suite.average(BASELINE, "diag/kl", last)
    return None if drift is None else drift > DRIFT


def _draw_edge(ax: Axes, parent: Node, child: Node, word: str, bold: bool) -> None:
    (x0, y0), (x1, y1) = parent.place, child.place
    colour, ink, width, weight = (INK, INK, 2.5, "bold") if bold else ("#aaaaaa", "#666666", 1.0, "normal")
    ax.plot([x0, x1], [y0, y1], color=colour, linewidth=width, zorder=1)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    ax.text(*middle, word, ha="center", va="center", fontsize=8, weight=weight, color=ink, bbox=behind)


def _draw_box(ax: Axes, node: Node, bold: bool, open_question: bool) -> None:
    box: dict[str, Any] = {
        "boxstyle": "round,pad=0.5" if node.is_end else "square,pad=0.5",
        "facecolor": "#ffe9b0" if bold else "#f7f7f7",
        "edgecolor": INK if bold else "#bbbbbb",
        "linewidth": 2.0 if bold else 0.8,
        "linestyle": "--" if open_question else "-",
    }
    text = node.text + ("\n(not known)" if open_question else "")
    colour, weight = "#111111" if bold else "#666666", "bold" if bold and node.is_end else "normal"
    x, y = node.place
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color=colour, weight=weight, bbox=box, zorder=2)
