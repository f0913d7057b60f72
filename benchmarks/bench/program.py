"""What a program costs by its text: products of matrices, bytes, and what each instruction is part of.

XLA's own cost analysis counts the body of every loop once, however often it is known to run, on CPUs and
GPUs alike. An update is loops in loops, so here the products are counted in the traced program, times the
length of the scans that they are in, and the bytes in the compiled one, times the trip counts that XLA
knows. The body of a loop that ends when something has happened still counts once: too little for the
denoising of wanted tokens, too much for the worlds of a pool, which most steps do not refill. Of a choice
the dearest branch counts: too much where windows are left out because none of them is valid.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters.partial_eval import dce_jaxpr

# Instructions that move nothing themselves, and those that run others.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota"}
CONTROL = {"while", "call", "conditional"}
SLICES = {"dynamic-slice", "slice", "gather"}  # read as much as they give

_HEAD = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<type>\((?:[^()]|\([^()]*\))*\)|\S+) "
    r"(?P<op>[\w\-]+)\((?P<operands>.*?)\)(?P<rest>.*)$"
)
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|(?:true|false)_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')


class Products(NamedTuple):
    """Floating-point operations of products, and whether it is known that just so many are made."""

    flops: float
    exact: bool


def products(traced: ClosedJaxpr) -> Products:
    """Products of matrices and convolutions that a traced program needs; of a choice, the dearest branch."""
    needed, _ = dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))
    return _products(needed)


def _products(jaxpr: Jaxpr | ClosedJaxpr) -> Products:
    total, exact = 0.0, True
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        parts = [_products(inner) for inner in _inner(eqn.params)]
        shapes: list[Any] = [x.aval for x in eqn.invars]
        result: Any = eqn.outvars[0].aval if eqn.outvars else None
        match eqn.primitive.name:
            case "dot_general":
                (contracted, _), _ = eqn.params["dimension_numbers"]
                depth = math.prod(shapes[0].shape[axis] for axis in contracted)
                part = Products(2.0 * result.size * depth, True)
            case "conv_general_dilated":
                kernel = shapes[1]
                features = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
                part = Products(2.0 * result.size * kernel.size / features, True)
            case "scan":
                part = Products(
                    eqn.params["length"] * sum(x.flops for x in parts), all(x.exact for x in parts)
                )
            case "while":
                flops = sum(x.flops for x in parts)
                part = Products(flops, flops == 0.0)
            case "cond":
                dearest = max(parts, key=lambda x: x.flops)
                part = Products(dearest.flops, all(x.exact and x.flops == dearest.flops for x in parts))
            case _:
                part = Products(sum(x.flops for x in parts), all(x.exact for x in parts))
        total, exact = total + part.flops, exact and part.exact
    return Products(total, exact)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr | ClosedJaxpr]:
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Jaxpr | ClosedJaxpr):
                yield each


@dataclass
class Instruction:
    """An instruction of a compiled program."""

    name: str
    op: str
    size: int  # bytes of its result
    operands: list[str]  # of a parameter, its number
    called: list[str]
    trips: int | None  # how often a loop runs its body; None where that is not known
    op_name: str  # the scopes it came from, as `jit(update)/env_step/add`


@dataclass
class Computation:
    """Instructions by name, in order; the last of them marked as root gives the result."""

    instructions: dict[str, Instruction] = field(default_factory=dict)
    root: str = ""


class Program:
    """A compiled program, from its text (`compiled.as_text()`)."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, Computation] = {}
        self.entry = ""
        current = Computation()
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations[head["name"]] = Computation()
                self.entry = head["name"] if head["entry"] else self.entry
            elif found := _INSTRUCTION.match(re.sub(r"/\*.*?\*/", "", line)):
                current.instructions[found["name"]] = _instruction(found)
                current.root = found["name"] if found["root"] else current.root

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        """All instructions; their names are unique in a program."""
        return {name: x for each in self.computations.values() for name, x in each.instructions.items()}

    @property
    def is_exact(self) -> bool:
        """Whether it is known how often every loop runs, and no branch moves more than another."""

        def known(x: Instruction) -> bool:
            if x.op == "conditional":
                return len({self._bytes_of(branch, loops_once=False) for branch in x.called}) == 1
            return x.op != "while" or x.trips is not None

        return all(map(known, self.by_name.values()))

    @cached_property
    def callers(self) -> dict[str, Instruction]:
        """The instruction that runs an instruction's computation, such as a loop or a fusion."""
        calling = {called: x for x in self.by_name.values() for called in x.called}
        return {
            name: calling[where]
            for where, each in self.computations.items()
            if where in calling
            for name in each.instructions
        }

    def bytes_accessed(self, loops_once: bool = False) -> float:
        """Bytes that instructions read and write, as XLA counts them; what is found in a cache counts too.

        Args:
            loops_once: whether the body of a loop counts once, as in XLA's own analysis.
        """
        return self._bytes_of(self.entry, loops_once)

    def _bytes_of(self, name: str, loops_once: bool) -> float:
        computation, total = self.computations[name], 0.0
        for x in computation.instructions.values():
            if x.op in CONTROL:
                inner = [self._bytes_of(called, loops_once) for called in x.called]
                once = max(inner) if x.op == "conditional" else sum(inner)
                total += once * (1 if loops_once else x.trips or 1)
            elif x.op not in FREE:
                total += self._moved(x, computation)
        return total

    def _moved(self, x: Instruction, computation: Computation) -> int:
        """Bytes that one instruction reads and writes."""
        sizes = [computation.instructions[name].size for name in x.operands]
        if x.op in SLICES:
            return 2 * x.size
        if x.op in ("dynamic-update-slice", "scatter"):
            return 2 * sizes[1 if x.op == "dynamic-update-slice" else -1]
        if x.op == "fusion":
            fused = self.computations[x.called[0]]
            return self._written(fused) + sum(
                self._read(fused, number, size) for number, size in enumerate(sizes)
            )
        return x.size + sum(sizes)

    def _read(self, fused: Computation, number: int, size: int) -> int:
        """Bytes that a fusion reads of an operand: of what it only cuts from or writes into, that part."""
        parameter = next(
            x.name for x in fused.instructions.values() if x.op == "parameter" and x.operands == [str(number)]
        )
        users = [x for x in fused.instructions.values() if parameter in x.operands]
        if users and all(x.op in SLICES and x.operands[0] == parameter for x in users):
            return sum(x.size for x in users)
        if users and all(x.op == "dynamic-update-slice" and x.operands[0] == parameter for x in users):
            return 0
        return size

    def _written(self, fused: Computation) -> int:
        root = fused.instructions[fused.root]
        if root.op == "dynamic-update-slice":
            return fused.instructions[root.operands[1]].size
        return root.size


def _instruction(found: re.Match[str]) -> Instruction:
    rest = found["rest"]
    called = _CALLED.findall(rest)
    for branches in _BRANCHES.findall(rest):
        called += [name.strip().lstrip("%") for name in branches.split(",")]
    trips, op_name = _TRIPS.search(rest), _OP_NAME.search(rest)
    number = found["op"] == "parameter"
    return Instruction(
        name=found["name"],
        op=found["op"],
        size=_size(found["type"]),
        operands=[found["operands"]] if number else re.findall(r"%([\w.\-]+)", found["operands"]),
        called=called,
        trips=int(trips[1]) if trips else None,
        op_name=op_name[1] if op_name else "",
    )


def _size(type_: str) -> int:
    """Bytes of a type such as `f32[8,128]{1,0}`, or of all parts of a tuple."""
    return sum(
        -(-int(bits or 8) // 8) * math.prod(int(n) for n in dims.split(",") if n)
        for _, bits, dims in _ARRAY.findall(type_)
    )
