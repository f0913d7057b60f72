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
        digest=lambda wildcards: plan.digest(plan.find("ppo", wildcards)),
    script:
        "../scripts/ppo.py"
