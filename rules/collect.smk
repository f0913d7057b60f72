rule collect:
    input:
        ppo_checkpoint_path=checkpoint_of("collect", "ppo_checkpoint_path"),
    output:
        trajectories="results/{env}/collect/{name}/s{seed}/trajectories.npz",
        metrics="results/{env}/collect/{name}/s{seed}/metrics.parquet",
        run="results/{env}/collect/{name}/s{seed}/run.json",
    log:
        "logs/{env}/collect/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/collect/{name}/s{seed}.benchmark.tsv"
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=3000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("collect", wildcards)),
    script:
        "../scripts/stage.py"
