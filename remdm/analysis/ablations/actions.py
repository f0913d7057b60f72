"""How often which action is played, and which follows which."""

from dataclasses import dataclass

import numpy as np

from remdm.analysis.ablations.runs import ArmRun

# Craftax's actions in order; Craftax-Classic has the first 17.
NAMES = (
    *("noop", "left", "right", "up", "down", "do", "sleep", "place stone", "place table", "place furnace"),
    *("place plant", "make wood pickaxe", "make stone pickaxe", "make iron pickaxe", "make wood sword"),
    *("make stone sword", "make iron sword", "rest", "descend", "ascend", "make diamond pickaxe"),
    *("make diamond sword", "make iron armour", "make diamond armour", "shoot arrow", "make arrow"),
    *("cast fireball", "cast iceball", "place torch", "drink potion red", "drink potion green"),
    *("drink potion blue", "drink potion pink", "drink potion cyan", "drink potion yellow", "read book"),
    *("enchant sword", "enchant armour", "make torch", "level up dexterity", "level up strength"),
    *("level up intelligence", "enchant bow"),
)


@dataclass(frozen=True)
class ActionUse:
    """Shares of actions [V] and of successive pairs [V, V], before and after, of an arm's runs together."""

    before: np.ndarray
    after: np.ndarray
    pairs_before: np.ndarray
    pairs_after: np.ndarray


def action_use(runs: list[ArmRun]) -> ActionUse | None:
    """The actions of all of an arm's runs; None where none was played."""
    if not runs:
        return None
    totals = {name: sum(run.actions[name] for run in runs) for name in runs[0].actions}
    if min(np.sum(total) for total in totals.values()) == 0:
        return None
    share = {name: total / np.sum(total) for name, total in totals.items()}
    return ActionUse(
        share["counts_before"], share["counts_after"], share["bigrams_before"], share["bigrams_after"]
    )


def entropy(p: np.ndarray) -> float:
    """Shannon entropy in nats; its exponential is the number of effective actions."""
    positive = p[p > 0]
    return float(-np.sum(positive * np.log(positive)))


def gini(p: np.ndarray) -> float:
    """Gini coefficient of shares [V]: 0 if all are equal, 1 - 1/V if one has all."""
    ranked = np.sort(p)
    count = len(p)
    return float(np.sum((2 * np.arange(1, count + 1) - count - 1) * ranked) / (count * ranked.sum()))


def kl(p: np.ndarray, q: np.ndarray, floor: float = 1e-6) -> float:
    """KL(p ‖ q) in nats; shares of q below `floor` count as `floor`, so that it is finite."""
    positive = p > 0
    return float(np.sum(p[positive] * np.log(p[positive] / np.maximum(q[positive], floor))))


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in nats, from 0 to ln 2 = 0.69."""
    middle = (p + q) / 2
    return entropy(middle) - (entropy(p) + entropy(q)) / 2


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half the summed absolute difference, from 0 to 1."""
    return float(np.abs(p - q).sum() / 2)


def transitions(pairs: np.ndarray) -> np.ndarray:
    """Probability of the next action (column) after an action (row) [V, V]; NaN after one never played."""
    played = pairs.sum(axis=1, keepdims=True)
    return np.divide(pairs, played, out=np.full(pairs.shape, np.nan), where=played > 0)
