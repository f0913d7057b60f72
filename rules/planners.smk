rule offline:
    input:
        ppo_checkpoint_path=lambda wildcards: ancient(
            plan.checkpoint("offline", "ppo_checkpoint_path", wildcards)
        ),
    output:
        checkpoint=directory("results/{env}/offline/{name}/s{seed}/checkpoint"),
        checkpoint_best=directory("results/{env}/offline/{name}/s{seed}/checkpoint_best"),
        metrics="results/{env}/offline/{name}/s{seed}/metrics.parquet",
        run="results/{env}/offline/{name}/s{seed}/run.json",
    log:
        "logs/{env}/offline/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/offline/{name}/s{seed}.benchmark.tsv"
    threads: workflow.cores or 8
    params:
        config=lambda wildcards: plan.params("offline", wildcards)[0],
        digest=lambda wildcards: plan.params("offline", wildcards)[1],
    script:
        "../scripts/offline.py"


rule online:
    input:
        ppo_checkpoint_path=lambda wildcards: ancient(
            plan.checkpoint("online", "ppo_checkpoint_path", wildcards)
        ),
        offline_checkpoint_path=lambda wildcards: ancient(
            plan.checkpoint("online", "offline_checkpoint_path", wildcards)
        ),
    output:
        checkpoint=directory("results/{env}/online/{name}/s{seed}/checkpoint"),
        checkpoint_best=directory("results/{env}/online/{name}/s{seed}/checkpoint_best"),
        metrics="results/{env}/online/{name}/s{seed}/metrics.parquet",
        run="results/{env}/online/{name}/s{seed}/run.json",
    log:
        "logs/{env}/online/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/online/{name}/s{seed}.benchmark.tsv"
    threads: workflow.cores or 8
    params:
        config=lambda wildcards: plan.params("online", wildcards)[0],
        digest=lambda wildcards: plan.params("online", wildcards)[1],
    script:
        "../scripts/online.py"
