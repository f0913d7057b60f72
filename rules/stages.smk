# A rule for each stage, by its record in remdm/config/stages.py. Every arm and seed is a job of its own: with
# --keep-going, one that fails does not stop the rest.
for name, stage in STAGES.items():
    if not stage.in_pipeline:
        continue

    rule:
        name:
            name
        input:
            **{key: checkpoint_of(name, key) for key in sorted(stage.model.path_keys())},
        output:
            **files(stage.paths(f"results/{{env}}/{name}/{{name}}/s{{seed}}")),
        log:
            f"logs/{{env}}/{name}/{{name}}/s{{seed}}.log",
        benchmark:
            f"logs/{{env}}/{name}/{{name}}/s{{seed}}.benchmark.tsv"
        priority: stage.priority
        threads: THREADS
        resources:
            gpu=1,
            mem_mb=stage.mem_mb,
        params:
            digest=digest_of(name),
        script:
            "../scripts/stage.py"
