rule inference:
    input:
        checkpoint_path=lambda wildcards: ancient(plan.checkpoint("inference", "checkpoint_path", wildcards)),
    output:
        episodes="results/{env}/inference/{name}/s{seed}/episodes.parquet",
        summary="results/{env}/inference/{name}/s{seed}/summary.json",
        run="results/{env}/inference/{name}/s{seed}/run.json",
    log:
        "logs/{env}/inference/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/inference/{name}/s{seed}.benchmark.tsv"
    threads: workflow.cores or 8
    params:
        config=lambda wildcards: plan.params("inference", wildcards)[0],
        digest=lambda wildcards: plan.params("inference", wildcards)[1],
    script:
        "../scripts/inference.py"
