# Figures and tables read result files alone. Their digest covers their own code, so a colour redraws one figure.

TRAINED = plan.jobs_of("ppo", "offline", "online")
TRAININGS = [path for job in TRAINED for path in settled(job, job.record)]
COLLECTIONS = [path for job in plan.jobs_of("collect") for path in settled(job, job.record)]
EVALUATED = plan.jobs_of("inference")
EVALUATIONS = [path for job in EVALUATED for path in settled(job, f"{job.folder}/summary.json")]


def files_of(stage, wildcards, *names):
    job = plan.find(stage, wildcards)
    return settled(job, *(f"{job.folder}/{name}" for name in names))


rule curves:
    input:
        lambda wildcards: files_of(wildcards.stage, wildcards, "metrics.parquet", "run.json"),
    output:
        figure=report(
            "results/{env}/{stage}/{name}/s{seed}/curves.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"stage": "{stage}", "name": "{name}", "seed": "{seed}"},
        ),
        run="results/{env}/{stage}/{name}/s{seed}/curves.run.json",
    log:
        "logs/{env}/{stage}/{name}/s{seed}.curves.log",
    wildcard_constraints:
        stage="ppo|collect|offline|online",
    params:
        digest=lambda wildcards: plan.figure_digest(
            f"results/{wildcards.env}/{wildcards.stage}/{wildcards.name}/s{wildcards.seed}/curves"
        ),
    script:
        "../scripts/curves.py"


rule unlocked:
    input:
        lambda wildcards: files_of("inference", wildcards, "summary.json"),
    output:
        figure=report(
            "results/{env}/inference/{name}/s{seed}/achievements.png",
            caption="../report/achievements.rst",
            category="Evaluation",
            labels={"policy": "{name}", "seed": "{seed}"},
        ),
        run="results/{env}/inference/{name}/s{seed}/achievements.run.json",
    log:
        "logs/{env}/inference/{name}/s{seed}.achievements.log",
    params:
        digest=lambda wildcards: plan.figure_digest(
            f"results/{wildcards.env}/inference/{wildcards.name}/s{wildcards.seed}/achievements"
        ),
    script:
        "../scripts/achievements.py"


rule learning:
    input:
        TRAININGS,
    output:
        figure=report(
            "results/paper/figures/learning.png",
            caption="../report/learning.rst",
            category="Paper",
        ),
        run="results/paper/figures/learning.run.json",
    log:
        "logs/paper/learning.log",
    params:
        digest=plan.figure_digest("results/paper/figures/learning"),
    script:
        "../scripts/learning.py"


rule returns:
    input:
        EVALUATIONS,
    output:
        figure=report(
            "results/paper/figures/returns.png",
            caption="../report/returns.rst",
            category="Paper",
        ),
        run="results/paper/figures/returns.run.json",
    log:
        "logs/paper/returns.log",
    params:
        digest=plan.figure_digest("results/paper/figures/returns"),
    script:
        "../scripts/returns.py"


rule achievements:
    input:
        EVALUATIONS,
    output:
        figure=report(
            "results/paper/figures/achievements.png",
            caption="../report/achievements.rst",
            category="Paper",
        ),
        run="results/paper/figures/achievements.run.json",
    log:
        "logs/paper/achievements.log",
    params:
        digest=plan.figure_digest("results/paper/figures/achievements"),
    script:
        "../scripts/achievements.py"


rule table:
    input:
        EVALUATIONS,
    output:
        table="results/paper/tables/policies.csv",
        run="results/paper/tables/policies.run.json",
    log:
        "logs/paper/table.log",
    params:
        digest=plan.figure_digest("results/paper/tables/policies"),
    script:
        "../scripts/table.py"


rule report:
    input:
        trainings=[*TRAININGS, *COLLECTIONS],
        evaluations=EVALUATIONS,
    output:
        report="results/paper/report.html",
        run="results/paper/report.run.json",
    log:
        "logs/paper/report.log",
    params:
        digest=plan.figure_digest("results/paper/report"),
    script:
        "../scripts/report.py"
