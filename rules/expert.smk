rule expert:
    output:
        checkpoint=directory(plan.fetched.checkpoint),
    log:
        f"logs/experts/{plan.fetched.name}.log",
    benchmark:
        f"logs/experts/{plan.fetched.name}.benchmark.tsv"
    params:
        reference=plan.fetched.reference,
    script:
        "../scripts/expert.py"
