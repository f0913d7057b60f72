"""The ablation suite: fine-tuning a planner by reward, and arms that each change one part of it."""
