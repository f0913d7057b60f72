# The suite as a whole, from the files its runs left. The rule waits for a run that failed; `write_ablations`
# itself would show it as missing.


def ablation_jobs(wildcards):
    return [job for job in plan.jobs_of("ablations") if job.env == wildcards.env]


rule ablation_report:
    input:
        lambda wildcards: ancient([f"{job.folder}/run.json" for job in ablation_jobs(wildcards)]),
    output:
        report="results/{env}/ablations/report.md",
        tables=directory("results/{env}/ablations/tables"),
        figures=report(
            directory("results/{env}/ablations/figures"),
            patterns=["{figure}.png"],
            caption="../report/ablations.rst",
            category="Ablations",
            labels={"game": "{env}", "figure": "{figure}"},
        ),
    log:
        "logs/{env}/ablations/report.log",
    params:
        folders=lambda wildcards: [job.folder for job in ablation_jobs(wildcards)],
        seeds=lambda wildcards: len({job.seed for job in ablation_jobs(wildcards)}),
        arms=lambda wildcards: len({job.name for job in ablation_jobs(wildcards)}),
        digest=lambda wildcards: plan.figure_digest("ablations/report", *ablation_jobs(wildcards)),
    script:
        "../scripts/ablation_report.py"
