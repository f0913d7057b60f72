"""Runtime and logging: no key here changes a result or makes one stale."""

from pydantic import Field

from remdm.config.base import Minutes, Section, Updates


class RuntimeConfig(Section):
    """Runtime and logging."""

    progress: bool = Field(description="show progress")
    jit: bool = Field(description="compile; --no-jit runs operation by operation, for debugging")
    compilation_cache_dir: str | None = Field(
        description="folder of XLA's persistent cache, whose native code is trusted: auto is remdm/ in the "
        "user's cache folder; null switches it off"
    )
    use_wandb: bool = Field(description="log to Weights & Biases, offline without credentials")
    wandb_project: str = Field(description="W&B project")
    wandb_entity: str | None = Field(description="W&B team or user; null is the account's default")
    wandb_download_dir: str | None = Field(
        description="folder for artifacts of wandb: references; null is ./artifacts"
    )


class TrainingRuntimeConfig(RuntimeConfig):
    """How a training run is saved."""

    save_policy: bool = Field(description="save a checkpoint at the end, and upload it with use_wandb")
    checkpoint_buffer: bool = Field(
        description="save the replay buffer too; false saves space, but a resumed run must refill it"
    )
    chunk_updates: Updates = Field(
        description="largest number of updates per compiled call, after which progress is shown"
    )
    checkpoint_every_minutes: Minutes = Field(description="time between saves of the whole state")
    time_limit_minutes: Minutes | None = Field(
        description="save and stop before this time is over; null uses Slurm's limit, if any"
    )
    use_tensorboard: bool = Field(
        description="also write metrics for TensorBoard, to tensorboard/ in the results; needs the extra "
        "tensorboard"
    )
    resume_wandb_run_id: str | None = Field(
        description="W&B run to resume; null takes that of resume_checkpoint_path"
    )
