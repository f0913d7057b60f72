"""The ablation suite: fine-tuning a planner by reward, and the arms that change one thing of it each."""
