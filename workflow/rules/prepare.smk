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
    conda:
        "../../envs/base.yaml"
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
    conda:
        "../../envs/base.yaml"
    params:
        dataset=dataset,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    script:
        "../scripts/split.py"
