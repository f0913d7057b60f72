"""The arms of the ablation suite: their names, groups and hypotheses."""

from dataclasses import dataclass

BASELINE = "baseline_rl"

GROUPS = {
    "A": "constraints and replay",
    "B": "loss, noise levels and weights",
    "C": "trainable parts",
    "D": "data and reward",
}

# Reasons why fine-tuning may fail. In an entry, `-` means no hypothesis or no group.
HYPOTHESES = (
    "forgetting",
    "gradient conflict",
    "signal sparsity",
    "distribution shift",
    "mode collapse",
    "t-bias",
)


@dataclass(frozen=True)
class ArmEntry:
    """One arm: the baseline with one change.

    Attributes:
        group: a letter of GROUPS, `-` for the baseline.
        hypothesis: the one of HYPOTHESES that its score supports or contradicts, `-` for the baseline.
        tests: completes "tests whether ...".
    """

    name: str
    group: str
    hypothesis: str
    tests: str


ARMS = (
    ArmEntry(BASELINE, "-", "-", "the RL signal alone causes the collapse"),
    ArmEntry("kl_penalty", "A", "forgetting", "forgetting is the cause and a soft constraint suffices"),
    ArmEntry("ewc", "A", "forgetting", "forgetting pretrained representations is the cause"),
    ArmEntry("llrd", "A", "forgetting", "deep gradient flow corrupts early layers"),
    ArmEntry("lora", "A", "forgetting", "too many degrees of freedom are trained"),
    ArmEntry("mixed_replay", "A", "distribution shift", "the newest data is too narrow"),
    ArmEntry("trust_region_kl", "A", "forgetting", "a hard boundary around the pretrained policy is needed"),
    ArmEntry("t_curriculum", "B", "t-bias", "the order of noise levels matters"),
    ArmEntry("entropy_bonus", "B", "mode collapse", "the policy collapses to few actions"),
    ArmEntry("gradient_surgery", "B", "gradient conflict", "RL and BC gradients conflict"),
    ArmEntry("advantage_clip", "B", "signal sparsity", "large weights destabilise"),
    ArmEntry("normalized_adv", "B", "signal sparsity", "normalisation by the mean is too loose"),
    ArmEntry("bc_wins", "B", "signal sparsity", "the weighting is at fault"),
    ArmEntry("low_t", "B", "t-bias", "gradients at high t are biased"),
    ArmEntry("frozen_backbone", "C", "forgetting", "gradient flow into the backbone causes the collapse"),
    ArmEntry("head_only", "C", "forgetting", "only the decision boundary needs moving"),
    ArmEntry("attention_only", "C", "forgetting", "routing is what needs changing"),
    ArmEntry("ffn_only", "C", "forgetting", "stored knowledge is what needs changing"),
    ArmEntry("layer_ablation_top1", "C", "forgetting", "gradients may go one block deep"),
    ArmEntry("layer_ablation_top2", "C", "forgetting", "gradients may go two blocks deep"),
    ArmEntry("layer_ablation_top3", "C", "forgetting", "gradients may go three blocks deep"),
    ArmEntry("reward_filtering", "D", "signal sparsity", "noisy windows poison gradients"),
    ArmEntry("running_stats", "D", "signal sparsity", "normalisation by the batch is too noisy"),
    ArmEntry("action_diversity", "D", "mode collapse", "degenerate plans corrupt training"),
    ArmEntry("reward_model", "D", "signal sparsity", "raw returns are too sparse"),
)
ARM_NAMES = tuple(entry.name for entry in ARMS)
