# Raw data → items table → named splits.


localrules:
    download,


rule download:
    output:
        paths.RAW,
    log:
        "results/.logs/download/{data}.log",
    conda:
        "../../envs/base.yaml"
    params:
        dataset=dataset,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    script:
        "../scripts/download.py"


rule prepare:
    input:
        raw=paths.RAW,
        files=lambda w: DATA_FILES[w.data],
    output:
        paths.ITEMS,
    log:
        "results/.logs/prepare/{data}.log",
    group:
        "prepare"
    conda:
        "../../envs/base.yaml"
    resources:
        **needs("raw", memory=lambda w: (2000, 0), minutes=lambda w: (60, 0)),
    params:
        dataset=dataset,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    script:
        "../scripts/prepare.py"


rule split:
    input:
        table=paths.ITEMS,
    output:
        paths.SPLIT,
    log:
        "results/.logs/split/{data}/{split}.log",
    group:
        "prepare"
    conda:
        "../../envs/base.yaml"
    resources:
        **needs("table", memory=lambda w: (2000, 10), minutes=lambda w: (10, 1)),
    params:
        dataset=dataset,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    script:
        "../scripts/split.py"
