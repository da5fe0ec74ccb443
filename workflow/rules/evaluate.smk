# Fitted methods → embeddings of the test rows → metrics, and the index of each experiment's runs.


localrules:
    collect,


rule evaluate:
    input:
        table=paths.ITEMS,
        split=paths.SPLIT,
        models=lambda w: [file for fit in PLAN.fits(fit_of(w)) for file in PLAN.fit_files(fit)],
        features=lambda w: [file for fit in PLAN.fits(fit_of(w)) for file in PLAN.fit_inputs(fit)],
    output:
        metrics=f"{paths.RUN}/{paths.suffixed('metrics.json', PLAN.metrics_digest)}",
        curves=f"{paths.RUN}/{paths.suffixed('curves.h5', PLAN.metrics_digest)}",
        run=f"{paths.RUN}/{paths.suffixed('run.json', PLAN.metrics_digest)}",
        embeddings=directory(f"{paths.RUN}/{paths.suffixed('embeddings', PLAN.metrics_digest)}"),
    log:
        f"results/.logs/evaluate/{{data}}/{{split}}/{{inputs}}/{{method}}/{paths.suffixed('{seed}.log', PLAN.metrics_digest)}",
    group:
        brief
    conda:
        "../../envs/torch.yaml"
    resources:
        **needs(
            "features",
            memory=lambda w: (2000, 20),
            minutes=lambda w: (2, 0.2),
            info=lambda w: PLAN.methods[w.method].info,
        ),
        brief=one_at_a_time,
    params:
        fits=run_fits,
        metrics=[metric.model_dump(mode="json") for metric in CONFIG.metrics],
        code=provenance.code_hash("metrics", *[metric.plugin for metric in CONFIG.metrics]),
    script:
        "../scripts/evaluate.py"


rule collect:
    input:
        lambda w: [file for run in PLAN.runs_of[w.experiment] for file in PLAN.run_files(run).values()],
    output:
        paths.EXPERIMENT,
    log:
        "results/.logs/collect/{experiment}.log",
    conda:
        "../../envs/base.yaml"
    params:
        experiment=experiment_of,
        runs=lambda w: [run.folder for run in PLAN.runs_of[w.experiment]],
        metrics=paths.suffixed("metrics.json", PLAN.metrics_digest),
        run=paths.suffixed("run.json", PLAN.metrics_digest),
    script:
        "../scripts/collect.py"
