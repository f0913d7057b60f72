"""Which arrays are trained, by segments of their paths, such as `blocks_0/attention/query/kernel`."""

from collections.abc import Callable
from typing import Any

import jax

Path = tuple[str, ...]
ATTENTION = ("query", "key", "value", "out")
FFN = ("ffn_in", "ffn_out")


def segments(path: tuple) -> Path:
    """The segments of an array's path in a tree of parameters, without linen's `params`."""
    names = tuple(str(part.key) for part in path)
    return names[1:] if names[:1] == ("params",) else names


def block_of(path: Path) -> int | None:
    """The number of an array's block; None outside the blocks."""
    name, _, number = path[0].rpartition("_")
    return int(number) if name == "blocks" else None


def in_attention(path: Path) -> bool:
    """Whether an array belongs to a block's query, key, value or output projection."""
    return block_of(path) is not None and path[1] == "attention" and path[2] in ATTENTION


def in_ffn(path: Path) -> bool:
    """Whether an array belongs to a block's feed-forward layers."""
    return block_of(path) is not None and path[1] in FFN


def only(chosen: Callable[[Path], bool]) -> Callable[[Path, int], float]:
    """The rate that trains the chosen arrays and freezes the rest."""
    return lambda path, blocks: float(chosen(path))


def top_blocks(number: int) -> Callable[[Path, int], float]:
    """The rate that trains the last blocks, all of them if there are fewer, and the head."""

    def rate(path: Path, blocks: int) -> float:
        block = block_of(path)
        return float(path[0] == "head" if block is None else block >= blocks - number)

    return rate


def rates(rate: Callable[[Path, int], float], trained: Any, blocks: int) -> Any:
    """The factor of every array's learning rate, as a tree of numbers."""
    return jax.tree.map_with_path(lambda path, _: rate(segments(path), blocks), trained)
