"""The arms, a module each: none knows another, so a new one makes no old one stale."""
