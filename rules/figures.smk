# Figures and tables read result files alone. Their digest covers their own code, so a colour redraws one figure.

TRAINED = plan.jobs_of("ppo", "offline", "online")
TRAININGS = [f"{job.folder}/run.json" for job in TRAINED]
COLLECTIONS = [f"{job.folder}/run.json" for job in plan.jobs_of("collect")]
EVALUATED = plan.jobs_of("inference")
EVALUATIONS = [f"{job.folder}/summary.json" for job in EVALUATED]


rule curves:
    input:
        metrics=ancient("results/{env}/{stage}/{name}/s{seed}/metrics.parquet"),
        run=ancient("results/{env}/{stage}/{name}/s{seed}/run.json"),
    output:
        report(
            "results/{env}/{stage}/{name}/s{seed}/curves.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"stage": "{stage}", "name": "{name}", "seed": "{seed}"},
        ),
    log:
        "logs/{env}/{stage}/{name}/s{seed}.curves.log",
    wildcard_constraints:
        stage="ppo|collect|offline|online",
    params:
        digest=lambda wildcards: plan.figure_digest("curves", plan.find(wildcards.stage, wildcards)),
    script:
        "../scripts/curves.py"


rule unlocked:
    input:
        summary=ancient("results/{env}/inference/{name}/s{seed}/summary.json"),
    output:
        report(
            "results/{env}/inference/{name}/s{seed}/achievements.png",
            caption="../report/achievements.rst",
            category="Evaluation",
            labels={"policy": "{name}", "seed": "{seed}"},
        ),
    log:
        "logs/{env}/inference/{name}/s{seed}.achievements.log",
    params:
        digest=lambda wildcards: plan.figure_digest("achievements", plan.find("inference", wildcards)),
    script:
        "../scripts/achievements.py"


rule learning:
    input:
        ancient(TRAININGS),
    output:
        report(
            "results/paper/figures/learning.png",
            caption="../report/learning.rst",
            category="Paper",
        ),
    log:
        "logs/paper/learning.log",
    params:
        digest=plan.figure_digest("learning", *TRAINED),
    script:
        "../scripts/learning.py"


rule returns:
    input:
        ancient(EVALUATIONS),
    output:
        report(
            "results/paper/figures/returns.png",
            caption="../report/returns.rst",
            category="Paper",
        ),
    log:
        "logs/paper/returns.log",
    params:
        digest=plan.figure_digest("returns", *EVALUATED),
    script:
        "../scripts/returns.py"


rule achievements:
    input:
        ancient(EVALUATIONS),
    output:
        report(
            "results/paper/figures/achievements.png",
            caption="../report/achievements.rst",
            category="Paper",
        ),
    log:
        "logs/paper/achievements.log",
    params:
        digest=plan.figure_digest("achievements", *EVALUATED),
    script:
        "../scripts/achievements.py"


rule table:
    input:
        ancient(EVALUATIONS),
    output:
        "results/paper/tables/policies.csv",
    log:
        "logs/paper/table.log",
    params:
        digest=plan.figure_digest("table", *EVALUATED),
    script:
        "../scripts/table.py"


rule report:
    input:
        trainings=ancient([*TRAININGS, *COLLECTIONS]),
        evaluations=ancient(EVALUATIONS),
        learning=rules.learning.output,
        returns=rules.returns.output,
        achievements=rules.achievements.output,
    output:
        "results/paper/report.html",
    log:
        "logs/paper/report.log",
    params:
        digest=plan.figure_digest("report", *plan.jobs),
    script:
        "../scripts/report.py"
