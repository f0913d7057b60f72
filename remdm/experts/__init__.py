"""Reinforcement-learning experts: networks, PPO, and the expert as a policy."""
