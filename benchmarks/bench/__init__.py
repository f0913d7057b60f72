"""How fast this machine runs the project: cases, what they cost, and where their time goes."""
