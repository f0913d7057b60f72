rule inference:
    input:
        checkpoint_path=checkpoint_of("inference", "checkpoint_path"),
    output:
        episodes="results/{env}/inference/{name}/s{seed}/episodes.parquet",
        summary="results/{env}/inference/{name}/s{seed}/summary.json",
        run="results/{env}/inference/{name}/s{seed}/run.json",
    log:
        "logs/{env}/inference/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/inference/{name}/s{seed}.benchmark.tsv"
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=3000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("inference", wildcards)),
    script:
        "../scripts/stage.py"
