# What the rules ask of the plan.


def settled(maker, *paths):
    """Inputs that a job makes, whose times must play no part.

    Of a job that is to be made again they are not ancient: then Snakemake would not tell what follows.
    """
    return [ancient(path) for path in paths] if plan.is_settled(maker) else list(paths)


def checkpoint_of(stage, key):
    """The input function of the checkpoint that a stage reads by a key; of no file if it reads none."""

    def find(wildcards):
        maker = plan.dependencies(plan.find(stage, wildcards)).get(key)
        return [] if maker is None else settled(maker, maker.checkpoint)

    return find


def shown_in(path):
    """What the jobs that a figure shows have left for it."""
    return [file for job in plan.figure(path).jobs for file in settled(job, *job.results)]


def of_run(figure):
    """The input function and the digest of a figure of one run."""

    def path(wildcards):
        job = plan.find(getattr(wildcards, "stage", "inference"), wildcards)
        return f"{job.folder}/{figure}"

    return lambda wildcards: shown_in(path(wildcards)), lambda wildcards: plan.figure_digest(path(wildcards))


def suite(wildcards):
    """The report of a game's ablation suite."""
    return plan.figure(f"results/{wildcards.env}/ablations/report")


def picture_of(wildcards, name):
    """The path of what is drawn of a film, without suffix."""
    return f"{plan.find('film', wildcards).folder}/{name}"


def heat(wildcards):
    """The heat map of a sweep."""
    return plan.find("sweep", wildcards).figure
