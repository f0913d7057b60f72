rule collect:
    input:
        ppo_checkpoint_path=lambda wildcards: ancient(
            plan.checkpoint("collect", "ppo_checkpoint_path", wildcards)
        ),
    output:
        trajectories="results/{env}/collect/{name}/s{seed}/trajectories.npz",
        metrics="results/{env}/collect/{name}/s{seed}/metrics.parquet",
        run="results/{env}/collect/{name}/s{seed}/run.json",
    log:
        "logs/{env}/collect/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/collect/{name}/s{seed}.benchmark.tsv"
    threads: workflow.cores or 8
    params:
        config=lambda wildcards: plan.params("collect", wildcards)[0],
        digest=lambda wildcards: plan.params("collect", wildcards)[1],
    script:
        "../scripts/collect.py"
