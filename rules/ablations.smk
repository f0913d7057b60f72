# Every arm and seed is a job of its own: with --keep-going, one that fails does not stop the rest.
rule ablations:
    input:
        checkpoint_path=checkpoint_of("ablations", "checkpoint_path"),
    output:
        checkpoint=directory("results/{env}/ablations/{name}/s{seed}/checkpoint"),
        checkpoint_best=directory("results/{env}/ablations/{name}/s{seed}/checkpoint_best"),
        metrics="results/{env}/ablations/{name}/s{seed}/metrics.parquet",
        pretrained="results/{env}/ablations/{name}/s{seed}/pretrained.parquet",
        actions="results/{env}/ablations/{name}/s{seed}/actions.npz",
        run="results/{env}/ablations/{name}/s{seed}/run.json",
    log:
        "logs/{env}/ablations/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/ablations/{name}/s{seed}.benchmark.tsv"
    priority: 1  # the report waits for them all
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("ablations", wildcards)),
    script:
        "../scripts/stage.py"


# The suite as a whole. The rule waits for a run that failed; `remdm ablations` would show it as missing.
rule ablation_report:
    input:
        lambda wildcards: shown_in(suite(wildcards).path),
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
        run="results/{env}/ablations/report.run.json",
    log:
        "logs/{env}/ablations/report.log",
    priority: 2  # a long job with nothing after it
    params:
        seeds=lambda wildcards: len({job.seed for job in suite(wildcards).jobs}),
        arms=lambda wildcards: len({job.name for job in suite(wildcards).jobs}),
        digest=lambda wildcards: plan.figure_digest(suite(wildcards).path),
    script:
        "../scripts/ablation_report.py"
