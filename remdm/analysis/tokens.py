"""How actions look when they are the tokens of a plan."""

MASK = "#dddddd"
COLOURS = {
    "noop": "#9a9a9a",
    "left": "#3f6fb5",
    "right": "#6d9ee0",
    "up": "#2c8c99",
    "down": "#5fb9b0",
    "do": "#4f9d4b",
    "sleep": "#7a5ba8",
    "rest": "#7a5ba8",
    "place": "#d9822b",
    "make": "#b8483f",
}
OTHER = "#a0527f"


def token_colour(action: str) -> str:
    """The colour of an action; those that place something share one, and so do those that make something."""
    return COLOURS.get(action, COLOURS.get(action.split("_")[0], OTHER))


def token_text(action: str) -> str:
    """The name of an action as it is read."""
    return action.replace("_", " ")
