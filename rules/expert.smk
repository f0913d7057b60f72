rule expert:
    output:
        checkpoint=directory("results/{kind}/{slug}/checkpoint"),
    log:
        "logs/{kind}/{slug}.log",
    benchmark:
        "logs/{kind}/{slug}.benchmark.tsv"
    wildcard_constraints:
        kind="experts|planners",
        slug="|".join(plan.fetched),
    params:
        reference=lambda wildcards: plan.fetched[wildcards.slug].reference,
    script:
        "../scripts/expert.py"
