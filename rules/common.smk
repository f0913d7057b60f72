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


def digest_of(stage):
    """The function of the digest of a stage's jobs."""
    return lambda wildcards: plan.digest(plan.find(stage, wildcards))


def files(paths):
    """Outputs of a rule; a path without suffix is a folder."""
    return {name: path if Path(path).suffix else directory(path) for name, path in paths.items()}


def shown_in(path):
    """What the jobs that a figure shows have left for it."""
    return [file for job in plan.figures[path].jobs for file in settled(job, *job.results)]


def pictures():
    """What is drawn of single runs, and of which stages."""
    found = {}
    for name, stage in STAGES.items():
        for picture in stage.pictures if stage.in_pipeline else ():
            found.setdefault(picture, []).append(name)
    return found


def picture_of(wildcards, output):
    """The path of what is drawn of a run, without suffix."""
    return f"{plan.find(wildcards.stage, wildcards).folder}/{output}"


def shown_of_run(output):
    """The input function of what is drawn of a run."""
    return lambda wildcards: shown_in(picture_of(wildcards, output))


def digest_of_picture(output):
    """The function of the digest of what is drawn of a run."""
    return lambda wildcards: plan.digest(plan.figures[picture_of(wildcards, output)])


def suite(wildcards):
    """The report of a game's ablation suite."""
    return plan.figures[f"results/{wildcards.env}/ablations/report"]
