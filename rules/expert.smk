rule expert:
    output:
        checkpoint=directory("results/experts/{reference}/checkpoint"),
    log:
        "logs/experts/{reference}.log",
    wildcard_constraints:
        reference="[^/]+",
    params:
        reference=plan.external.reference if plan.external else None,
    script:
        "../scripts/expert.py"
