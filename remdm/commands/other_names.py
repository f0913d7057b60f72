"""Aliases of flags and presets for users of the public tools."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from remdm.base.errors import ConfigError

PLANNERS = ("offline", "online")
TRAINED = ("ppo", "offline", "online", "smoke")
PLAYED = ("collect", "inference", "film", "imitation", "sweep")


class Other(NamedTuple):
    """An alias of a flag, without the dashes.

    Attributes:
        ours: the flag that it replaces.
        modes: the modes that accept it; empty for all.
        instead: the advice printed where no flag of ours has the meaning.
    """

    theirs: str
    ours: str = ""
    modes: tuple[str, ...] = ()
    instead: str = ""


FLAGS = (
    Other("checkpoint", "checkpoint_path"),
    Other("ppo_checkpoint", "ppo_checkpoint_path"),
    Other("resume", "resume_checkpoint_path"),
    Other("data", "offline_data_path", ("collect",)),
    Other("data", modes=PLANNERS, instead="--ppo_checkpoint_path: planners learn from a live expert"),
    Other("ablations", "arms", ("ablations",)),
    Other("num_seeds", "num_repeats", TRAINED),
    Other("num_seeds", modes=PLAYED, instead="one call for each --seed"),
    *(Other("total_timesteps", f"{method}_total_timesteps", (method,)) for method in PLANNERS),
    # The public scripts that train an expert use these names without the prefix.
    *(
        Other(name, f"ppo_{name}", ("ppo",))
        for name in (
            *("total_timesteps", "num_envs", "num_steps", "lr", "update_epochs", "num_minibatches", "gamma"),
            *("gae_lambda", "clip_eps", "ent_coef", "vf_coef", "max_grad_norm"),
        )
    ),
    Other("anneal_lr", modes=("ppo",), instead="nothing: ppo_lr always decays"),
    Other("activation", modes=("ppo",), instead="nothing: --ppo_model_type decides it"),
    Other("debug", modes=("ppo",), instead="nothing: metrics are always written; --no-jit is for debugging"),
)
PRESETS = (
    (re.compile(r"final_craftax_classic_(\w+)"), r"final_classic_\1"),
    (re.compile(r"(?:craftax_(?=classic))?(\w+_exp_d_\w+)_model"), r"\1"),
)


def our_preset(name: str) -> str:
    """A preset's name, given the name or an alias; any other text is returned unchanged."""
    for pattern, ours in PRESETS:
        if found := pattern.fullmatch(name):
            return found.expand(ours)
    return name


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments of a call with aliases replaced; hyphens in flags must be underscores already.

    Raises:
        ConfigError: a flag that has no equivalent; the message names what to write instead.
    """
    waiting = _mode_first(arguments)
    mode = "".join(waiting[:1])
    found: list[str] = []
    while waiting:
        argument = waiting.pop(0)
        flag, equals, value = argument.partition("=")
        if flag == "--override":
            pairs = [value] if equals else []
            while waiting and not waiting[0].startswith("--"):
                pairs.append(waiting.pop(0))
            found += map(_flag, pairs or [""])
        elif flag == "--config":
            found.append(f"{flag}{equals}{our_preset(value)}")
        elif found[-1:] == ["--config"] or mode == "params":
            found.append(our_preset(argument))
        else:
            found.append(_in_ours(argument, mode))
    return found


def _mode_first(arguments: Sequence[str]) -> list[str]:
    """Move `--mode MODE` from any position to the front, as MODE."""
    for place, argument in enumerate(arguments):
        if argument.startswith("--mode="):
            return [argument.removeprefix("--mode="), *arguments[:place], *arguments[place + 1 :]]
        if argument == "--mode":
            return [*arguments[place + 1 : place + 2], *arguments[:place], *arguments[place + 2 :]]
    return [*arguments]


def _flag(pair: str) -> str:
    """`KEY=VALUE` as a flag; the key may be in capitals."""
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise ConfigError(f"--override {pair}: write KEY=VALUE")
    return f"--{key.lower() if key.isupper() else key}={value}"


def _in_ours(argument: str, mode: str) -> str:
    """An argument with our flag in place of its alias in a mode; any other argument is returned unchanged."""
    flag, equals, value = argument.partition("=")
    for other in FLAGS:
        if mode in (other.modes or (mode,)) and flag in (f"--{other.theirs}", f"--no_{other.theirs}"):
            if other.instead:
                raise ConfigError(f"{flag}: write {other.instead}")
            if flag == f"--{other.theirs}":
                return f"--{other.ours}{equals}{value}"
    return argument


def table() -> Iterator[str]:
    """All aliases, as lines of a help text."""
    yield "other names of these, for users of the public tools (docs/coming-from.md):"
    rows = [("--mode MODE", "MODE"), ("--override KEY=VALUE ...", "--KEY VALUE ...")]
    bare = [other for other in FLAGS if other.modes == ("ppo",) and other.ours]
    for other in FLAGS:
        if other.ours and other not in bare:
            modes = f" ({', '.join(other.modes)})" if other.modes else ""
            rows.append((f"--{other.theirs}", f"--{other.ours}{modes}"))
    rows += [("final_craftax_classic_*", "final_classic_*"), ("*_exp_d_*_model", "*_exp_d_*")]
    yield from (f"  {theirs:<26}{ours}" for theirs, ours in rows)
    yield from textwrap.wrap(
        f"In ppo, these need no ppo_ in front: {', '.join(f'--{other.theirs}' for other in bare)}", 78,
        initial_indent="  ", subsequent_indent="  ",
    )  # fmt: skip
