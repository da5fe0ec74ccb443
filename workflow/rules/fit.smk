# Features or coefficients of the training rows → a fitted method. This job does not take a test row.


rule fit:
    input:
        table=paths.ITEMS,
        split=paths.SPLIT,
        features=lambda w: PLAN.fit_inputs(fit_of(w)),
    output:
        **{Path(name).stem: f"{paths.FIT}/{name}" for name in paths.FIT_FILES},
    log:
        "results/.logs/fit/{data}/{split}/{inputs}/{method}/{seed}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=lambda w: gpus(PLAN.methods[w.method].info),
        local_gpu=lambda w: local_gpus(PLAN.methods[w.method].info),
    params:
        configuration=fit_configuration,
        code=lambda w: code("methods", PLAN.methods[w.method].plugin),
    script:
        "../scripts/fit.py"
