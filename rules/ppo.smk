rule ppo:
    output:
        checkpoint=directory("results/{env}/ppo/{name}/s{seed}/checkpoint"),
        metrics="results/{env}/ppo/{name}/s{seed}/metrics.parquet",
        run="results/{env}/ppo/{name}/s{seed}/run.json",
    log:
        "logs/{env}/ppo/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/ppo/{name}/s{seed}.benchmark.tsv"
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=3000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("ppo", wildcards)),
    script:
        "../scripts/stage.py"
