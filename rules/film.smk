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
        "../scripts/film.py"


for picture, suffix in PICTURES.items():
    SHOWN, DIGEST = of_film(picture)

    rule:
        name:
            picture
        input:
            SHOWN,
        output:
            picture=report(
                f"results/{{env}}/film/{{name}}/s{{seed}}/{picture}{suffix}",
                caption=f"../report/{picture}.rst",
                category="Films",
                labels={"policy": "{name}", "picture": picture},
            ),
            run=f"results/{{env}}/film/{{name}}/s{{seed}}/{picture}.run.json",
        log:
            f"logs/{{env}}/film/{{name}}/s{{seed}}.{picture}.log",
        params:
            digest=DIGEST,
        script:
            f"../scripts/{picture}.py"


# The page links the pictures, so one that is redrawn does not make it stale.
rule gallery:
    input:
        pictures=[ancient(output) for picture in plan.pictures for output in picture.outputs],
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
