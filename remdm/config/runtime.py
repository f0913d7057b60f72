"""Runtime and logging: no key here changes a result or makes one stale."""

from pydantic import Field

from remdm.config.base import Minutes, Section, Updates


class RuntimeConfig(Section):
    """Runtime and logging."""

    progress: bool = Field(description="show progress")
    jit: bool = Field(description="compile; --no-jit runs operation by operation, for debugging")
    compilation_cache_dir: str | None = Field(
        description="XLA's persistent cache, native code that is trusted: auto is remdm/ in the user's cache "
        "folder; null switches it off"
    )
    use_wandb: bool = Field(description="log to Weights & Biases, offline without credentials")
    wandb_project: str = Field(description="W&B project")
    wandb_entity: str | None = Field(description="W&B team or user; null is the account's default")
    wandb_download_dir: str | None = Field(
        description="where artifacts of wandb: references go; null is ./artifacts"
    )


class TrainingRuntimeConfig(RuntimeConfig):
    """How a training run is saved."""

    save_policy: bool = Field(description="leave a checkpoint at the end, and upload it with use_wandb")
    checkpoint_buffer: bool = Field(
        description="save the replay buffer too; false saves space, and a resumed run refills it"
    )
    chunk_updates: Updates = Field(
        description="most updates per compiled call, after which progress is shown"
    )
    checkpoint_every_minutes: Minutes = Field(description="time between saves of the whole state")
    time_limit_minutes: Minutes | None = Field(
        description="save and stop before this time is over; null is Slurm's limit, or none"
    )
    use_tensorboard: bool = Field(
        description="write metrics for TensorBoard too, into tensorboard/ of the results; needs the extra "
        "tensorboard"
    )
    resume_wandb_run_id: str | None = Field(
        description="W&B run to resume; null takes that of resume_checkpoint_path"
    )
