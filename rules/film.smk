# A film of every policy, and the pictures drawn of it: a changed picture plays nothing again.


rule film:
    input:
        checkpoint_path=checkpoint_of("film", "checkpoint_path"),
    output:
        film="results/{env}/film/{name}/s{seed}/film.npz",
        run="results/{env}/film/{name}/s{seed}/run.json",
    log:
        "logs/{env}/film/{name}/s{seed}.log",
    benchmark:
        "logs/{env}/film/{name}/s{seed}.benchmark.tsv"
    threads: THREADS
    resources:
        gpu=1,
        mem_mb=3000,
    params:
        digest=lambda wildcards: plan.digest(plan.find("film", wildcards)),
    script:
        "../scripts/stage.py"


rule episode:
    input:
        lambda wildcards: shown_in(picture_of(wildcards, "episode")),
    output:
        picture=report(
            "results/{env}/film/{name}/s{seed}/episode.gif",
            caption="../report/episode.rst",
            category="Films",
            labels={"policy": "{name}", "picture": "episode"},
        ),
        run="results/{env}/film/{name}/s{seed}/episode.run.json",
    log:
        "logs/{env}/film/{name}/s{seed}.episode.log",
    params:
        digest=lambda wildcards: plan.figure_digest(picture_of(wildcards, "episode")),
    script:
        "../scripts/episode.py"


rule picture:
    input:
        lambda wildcards: shown_in(picture_of(wildcards, wildcards.picture)),
    output:
        picture=report(
            "results/{env}/film/{name}/s{seed}/{picture}.png",
            caption="../report/picture.rst",
            category="Films",
            labels={"policy": "{name}", "picture": "{picture}"},
        ),
        run="results/{env}/film/{name}/s{seed}/{picture}.run.json",
    log:
        "logs/{env}/film/{name}/s{seed}.{picture}.log",
    wildcard_constraints:
        picture="|".join(name for name, suffix in PICTURES.items() if suffix == ".png"),
    params:
        digest=lambda wildcards: plan.figure_digest(picture_of(wildcards, wildcards.picture)),
    script:
        "../scripts/{wildcards.picture}.py"


# The page links the pictures, so one that is redrawn does not make it stale.
rule gallery:
    input:
        pictures=[ancient(output) for picture in plan.catalogue.pictures for output in picture.outputs],
        films=shown_in("results/paper/gallery"),
    output:
        html="results/paper/gallery.html",
        run="results/paper/gallery.run.json",
    log:
        "logs/paper/gallery.log",
    params:
        digest=plan.figure_digest("results/paper/gallery"),
    script:
        "../scripts/gallery.py"
