"""From checkpoints to policies: ours, public ones, experts and planners."""
