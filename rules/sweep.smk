rule sweep:
    input:
        checkpoint_path=checkpoint_of("sweep", "checkpoint_path"),
        ppo_checkpoint_path=checkpoint_of("sweep", "ppo_checkpoint_path"),
    output:
        sweep="results/{env}/sweep/{name}/s{seed}/sweep.parquet",
        run="results/{env}/sweep/{name}/s{seed}/run.json",
    log:
        "logs/{env}/sweep/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/sweep/{name}/s{seed}.benchmark.tsv"
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("sweep", wildcards)),
    script:
        "../scripts/stage.py"


rule heatmap:
    input:
        lambda wildcards: shown_in(heat(wildcards)),
    output:
        png=report(
            "results/{env}/sweep/{name}/s{seed}/sweep.png",
            caption="../report/sweep.rst",
            category="Evaluation",
            labels={"policy": "{name}", "seed": "{seed}"},
        ),
        run="results/{env}/sweep/{name}/s{seed}/sweep.run.json",
    log:
        "logs/{env}/sweep/{name}/s{seed}.heatmap.log",
    params:
        digest=lambda wildcards: plan.figure_digest(heat(wildcards)),
    script:
        "../scripts/heatmap.py"
