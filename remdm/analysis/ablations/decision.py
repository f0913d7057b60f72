"""The decision tree: from the scores to what to do next."""

from dataclasses import dataclass

from remdm.analysis.ablations.hypotheses import DRIFT, last
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.ablations.significance import COLLAPSE, IMPROVEMENT, WORSE
from remdm.analysis.ablations.standing import Standing, Standings
from remdm.config.arms import BASELINE


@dataclass(frozen=True)
class Node:
    """A question with a node for each answer, or an end without."""

    text: str
    yes: str | None = None
    no: str | None = None


TREE = {
    "collapse": Node("Does baseline_rl end over 10 %\nbelow the pretrained planner?", "prevents", "improves"),
    "improves": Node("Does an arm improve on\nbaseline_rl by over 5 %?", "build", "stop"),
    "prevents": Node("Does an arm stay within 10 %\nof the pretrained planner?", "constrained", "drift"),
    "constrained": Node("Is the best of them a constraint\n(group A or C)?", "constrain", "change"),
    "drift": Node(f"Does baseline_rl drift by\nmore than {DRIFT} nats?", "stronger", "signal"),
    "build": Node("No collapse to prevent:\nbuild on that arm"),
    "stop": Node("No collapse, no gain:\ntrain longer or change the reward"),
    "constrain": Node("Keep the pretrained weights:\nsweep that constraint"),
    "change": Node("Change loss or data:\nsweep that arm"),
    "stronger": Node("Nothing tried holds it: lower learning\nrate, stronger constraints"),
    "signal": Node("It fails without drifting:\nlook at the reward signal"),
}
START = "collapse"


@dataclass(frozen=True)
class Path:
    """The way through the tree: questions with their answers, and where it ends.

    Attributes:
        end: a node without a question, or the question that cannot be answered.
    """

    answers: tuple[tuple[str, bool], ...]
    end: str

    @property
    def is_whole(self) -> bool:
        """Whether every question on the way could be answered."""
        return TREE[self.end].yes is None


def decide(suite: Suite, standings: Standings) -> Path:
    """Follow the tree as far as the results answer its questions."""
    answers: list[tuple[str, bool]] = []
    node = START
    while TREE[node].yes is not None:
        answer = _answer(node, suite, standings)
        if answer is None:
            break
        answers.append((node, answer))
        node = str(TREE[node].yes if answer else TREE[node].no)
    return Path(tuple(answers), node)


def preventing(standings: Standings) -> list[Standing]:
    """The arms that stay within 10 % of the pretrained planner, the best first."""
    limit = -WORSE * standings.scale
    return [s for s in standings.scored if s.to_pretrained is not None and s.to_pretrained >= limit]


def _answer(node: str, suite: Suite, standings: Standings) -> bool | None:
    if node == "collapse":
        return None if standings.collapse is None else standings.collapse == COLLAPSE
    if node == "improves":
        return any(s.verdict == IMPROVEMENT for s in standings.scored) if standings.scored else None
    if node == "prevents":
        return bool(preventing(standings)) if standings.scored else None
    if node == "constrained":
        return preventing(standings)[0].entry.group in ("A", "C")
    drift = suite.average(BASELINE, "diag/kl", last)
    return None if drift is None else drift > DRIFT
