# Figures and tables read result files alone. Their digest covers their own code, so a colour redraws one figure
# (those that all figures share, of analysis/style.py, redraw all). Captions say how many seeds and episodes are
# behind a figure, so they are written with it.

SHOWN_IN_CURVES, DIGEST_OF_CURVES = of_run("curves")
SHOWN_UNLOCKED, DIGEST_OF_UNLOCKED = of_run("achievements")


rule curves:
    input:
        SHOWN_IN_CURVES,
    output:
        png=report(
            "results/{env}/{stage}/{name}/s{seed}/curves.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"stage": "{stage}", "name": "{name}", "seed": "{seed}"},
        ),
        run="results/{env}/{stage}/{name}/s{seed}/curves.run.json",
    log:
        "logs/{env}/{stage}/{name}/s{seed}.curves.log",
    wildcard_constraints:
        stage="ppo|collect|offline|online|ablations",
    priority: 2  # the first thing to look at
    params:
        digest=DIGEST_OF_CURVES,
    script:
        "../scripts/curves.py"


rule unlocked:
    input:
        SHOWN_UNLOCKED,
    output:
        png=report(
            "results/{env}/inference/{name}/s{seed}/achievements.png",
            caption="../report/unlocked.rst",
            category="Evaluation",
            labels={"policy": "{name}", "seed": "{seed}"},
        ),
        run="results/{env}/inference/{name}/s{seed}/achievements.run.json",
    log:
        "logs/{env}/inference/{name}/s{seed}.achievements.log",
    params:
        digest=DIGEST_OF_UNLOCKED,
    script:
        "../scripts/unlocked.py"


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
        digest=lambda wildcards: plan.figure_digest(f"results/paper/figures/{wildcards.figure}"),
    script:
        "../scripts/figure.py"


rule table:
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
        digest=lambda wildcards: plan.figure_digest(f"results/paper/tables/{wildcards.table}"),
    script:
        "../scripts/table.py"


# The page shows the pictures that lie beside it, so one that is redrawn or missing does not make it stale.
rule report:
    input:
        records=shown_in("results/paper/report"),
        captions=[ancient(f"{figure.path}.txt") for figure in plan.catalogue.paper_figures],
    output:
        html="results/paper/report.html",
        run="results/paper/report.run.json",
    log:
        "logs/paper/report.log",
    params:
        digest=plan.figure_digest("results/paper/report"),
    script:
        "../scripts/report.py"
