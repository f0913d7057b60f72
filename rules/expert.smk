rule expert:
    output:
        checkpoint=directory("results/experts/{slug}/checkpoint"),
    log:
        "logs/experts/{slug}.log",
    benchmark:
        "logs/experts/{slug}.benchmark.tsv"
    wildcard_constraints:
        slug="|".join(plan.fetched),
    params:
        reference=lambda wildcards: plan.fetched[wildcards.slug].reference,
    script:
        "../scripts/expert.py"
