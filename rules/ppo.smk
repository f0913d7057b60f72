rule ppo:
    output:
        checkpoint=directory("results/{env}/ppo/{name}/s{seed}/checkpoint"),
        metrics="results/{env}/ppo/{name}/s{seed}/metrics.parquet",
        run="results/{env}/ppo/{name}/s{seed}/run.json",
    log:
        "logs/{env}/ppo/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/ppo/{name}/s{seed}.benchmark.tsv"
    # All else waits for a single expert, so it gets all cores.
    threads: CORES if len(plan.jobs_of("ppo")) == 1 else THREADS
    resources:
        gpu=1,
        mem_mb=3000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("ppo", wildcards)),
    script:
        "../scripts/ppo.py"
