"""The arms, one module each, which do not import each other, so a new arm makes no old one stale."""
