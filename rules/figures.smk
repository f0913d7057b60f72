# Figures, tables and pages read result files alone. Their digest covers their own code, so a colour redraws one
# figure (those that all figures share, of analysis/style.py, redraw all). Captions say how many seeds and
# episodes are behind a figure, so they are written with it.


# What is drawn of every run of some stages.
for picture, stages in pictures().items():

    rule:
        name:
            picture.name
        input:
            shown_of_run(picture.output),
        output:
            picture=report(
                f"results/{{env}}/{{stage}}/{{name}}/s{{seed}}/{picture.file}",
                caption=f"../report/{picture.name}.rst",
                category=picture.category,
                labels={"shows": picture.name, "stage": "{stage}", "name": "{name}", "seed": "{seed}"},
            ),
            run=f"results/{{env}}/{{stage}}/{{name}}/s{{seed}}/{picture.output}.run.json",
        log:
            f"logs/{{env}}/{{stage}}/{{name}}/s{{seed}}.{picture.name}.log",
        wildcard_constraints:
            stage="|".join(stages),
        priority: 2  # the first things to look at
        params:
            digest=digest_of_picture(picture.output),
        script:
            "../scripts/figure.py"


rule figure:
    input:
        lambda wildcards: shown_in(f"results/paper/figures/{wildcards.figure}"),
    output:
        png=report(
            "results/paper/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Paper",
            subcategory="Figures",
            labels={"shows": "{figure}"},
        ),
        pdf="results/paper/figures/{figure}.pdf",
        caption="results/paper/figures/{figure}.txt",
        run="results/paper/figures/{figure}.run.json",
    log:
        "logs/paper/{figure}.log",
    wildcard_constraints:
        figure="|".join(figure.name for figure in plan.catalogue.paper_figures),
    params:
        digest=lambda wildcards: plan.digest(plan.figures[f"results/paper/figures/{wildcards.figure}"]),
    script:
        "../scripts/figure.py"


use rule figure as table with:
    input:
        lambda wildcards: shown_in(f"results/paper/tables/{wildcards.table}"),
    output:
        csv=report(
            "results/paper/tables/{table}.csv",
            caption="../report/table.rst",
            category="Paper",
            subcategory="Tables",
            labels={"shows": "{table}"},
        ),
        tex="results/paper/tables/{table}.tex",
        md="results/paper/tables/{table}.md",
        run="results/paper/tables/{table}.run.json",
    log:
        "logs/paper/tables/{table}.log",
    wildcard_constraints:
        table="|".join(figure.name for figure in plan.catalogue.paper_tables),
    params:
        digest=lambda wildcards: plan.digest(plan.figures[f"results/paper/tables/{wildcards.table}"]),


# The suite as a whole. The rule waits for a run that failed; `remdm ablations` would show it as missing.
use rule figure as ablation_report with:
    input:
        lambda wildcards: shown_in(f"results/{wildcards.env}/ablations/report"),
    output:
        report="results/{env}/ablations/report.md",
        tables=directory("results/{env}/ablations/tables"),
        figures=report(
            directory("results/{env}/ablations/figures"),
            patterns=["{figure}.png"],
            caption="../report/ablations.rst",
            category="Ablations",
            labels={"game": "{env}", "figure": "{figure}"},
        ),
        run="results/{env}/ablations/report.run.json",
    log:
        "logs/{env}/ablations/report.log",
    priority: 2  # a long job with nothing after it
    params:
        seeds=lambda wildcards: len({job.seed for job in suite(wildcards).jobs}),
        arms=lambda wildcards: len({job.name for job in suite(wildcards).jobs}),
        digest=lambda wildcards: plan.digest(suite(wildcards)),


# Both pages lead to the pictures that lie beside them, so one that is redrawn does not make them stale.
use rule figure as gallery with:
    input:
        pictures=[ancient(output) for figure in plan.catalogue.of_films for output in figure.outputs],
        films=shown_in("results/paper/gallery"),
    output:
        html="results/paper/gallery.html",
        run="results/paper/gallery.run.json",
    log:
        "logs/paper/gallery.log",
    params:
        digest=plan.digest(plan.figures["results/paper/gallery"]),


use rule figure as report with:
    input:
        records=shown_in("results/paper/report"),
        captions=[ancient(f"{figure.path}.txt") for figure in plan.catalogue.paper_figures],
    output:
        html=report(
            "results/paper/report.html",
            caption="../report/report.rst",
            category="Paper",
            subcategory="Report",
            labels={"shows": "all"},
        ),
        run="results/paper/report.run.json",
    log:
        "logs/paper/report.log",
    params:
        digest=plan.digest(plan.figures["results/paper/report"]),
