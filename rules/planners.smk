rule offline:
    input:
        ppo_checkpoint_path=checkpoint_of("offline", "ppo_checkpoint_path"),
    output:
        checkpoint=directory("results/{env}/offline/{name}/s{seed}/checkpoint"),
        checkpoint_best=directory("results/{env}/offline/{name}/s{seed}/checkpoint_best"),
        metrics="results/{env}/offline/{name}/s{seed}/metrics.parquet",
        run="results/{env}/offline/{name}/s{seed}/run.json",
    log:
        "logs/{env}/offline/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/offline/{name}/s{seed}.benchmark.tsv"
    priority: 1  # the longest first
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=6000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("offline", wildcards)),
    script:
        "../scripts/stage.py"


rule online:
    input:
        ppo_checkpoint_path=checkpoint_of("online", "ppo_checkpoint_path"),
        offline_checkpoint_path=checkpoint_of("online", "offline_checkpoint_path"),
    output:
        checkpoint=directory("results/{env}/online/{name}/s{seed}/checkpoint"),
        checkpoint_best=directory("results/{env}/online/{name}/s{seed}/checkpoint_best"),
        metrics="results/{env}/online/{name}/s{seed}/metrics.parquet",
        run="results/{env}/online/{name}/s{seed}/run.json",
    log:
        "logs/{env}/online/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/online/{name}/s{seed}.benchmark.tsv"
    priority: 1  # the longest first
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=6000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("online", wildcards)),
    script:
        "../scripts/stage.py"
