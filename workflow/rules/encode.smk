# Features → coefficients of coupled dictionaries.


rule encode:
    input:
        table=paths.ITEMS,
        split=paths.SPLIT,
        features=lambda w: PLAN.feature_files(w.data, w.split, w.inputs.split("+")),
    output:
        paths.CODES,
    log:
        "results/.logs/encode/{data}/{split}/{inputs}/{dictionary}/{seed}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        **needs(
            "features",
            memory=lambda w: (1000, 40),
            minutes=lambda w: (30, 1),
            info=lambda w: PLAN.dictionaries[w.dictionary].info,
        ),
    params:
        dictionary=lambda w: PLAN.dictionaries[w.dictionary].model_dump(mode="json"),
        features=lambda w: feature_entries(w.inputs.split("+")),
        code=lambda w: code("dictionaries", PLAN.dictionaries[w.dictionary].plugin),
    script:
        "../scripts/encode.py"
