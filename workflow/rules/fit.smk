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
    group:
        brief
    conda:
        "../../envs/torch.yaml"
    resources:
        **needs(
            "features",
            memory=lambda w: (2000, 20),
            minutes=lambda w: (2, 0.2) if brief(w) else (5, 1),
            info=lambda w: PLAN.methods[w.method].info,
        ),
        brief=one_at_a_time,
    params:
        configuration=fit_configuration,
        code=lambda w: code("methods", PLAN.methods[w.method].plugin),
    script:
        "../scripts/fit.py"
