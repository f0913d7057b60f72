rule ppo:
    output:
        checkpoint=directory("results/{env}/ppo/{name}/s{seed}/checkpoint"),
        metrics="results/{env}/ppo/{name}/s{seed}/metrics.parquet",
        run="results/{env}/ppo/{name}/s{seed}/run.json",
    log:
        "logs/{env}/ppo/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/ppo/{name}/s{seed}.benchmark.tsv"
    threads: workflow.cores or 8
    params:
        config=lambda wildcards: plan.params("ppo", wildcards)[0],
        digest=lambda wildcards: plan.params("ppo", wildcards)[1],
    script:
        "../scripts/ppo.py"
