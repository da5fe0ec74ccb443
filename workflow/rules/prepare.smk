# Raw data → items table → named splits.


localrules:
    download,


rule download:
    output:
        paths.DATA + "/raw.json",
    params:
        dataset=dataset,
        cache=CONFIG.cache,
        base=BASE,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    log:
        "results/.logs/download/{data}.log",
    conda:
        "../../envs/base.yaml"
    script:
        "../scripts/download.py"


rule prepare:
    input:
        raw=paths.DATA + "/raw.json",
        files=lambda w: configuration.data_files(PLAN.datasets[w.data], BASE),
    output:
        paths.ITEMS,
    params:
        dataset=dataset,
        cache=CONFIG.cache,
        base=BASE,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    log:
        "results/.logs/prepare/{data}.log",
    conda:
        "../../envs/base.yaml"
    script:
        "../scripts/prepare.py"


rule split:
    input:
        table=paths.ITEMS,
    output:
        paths.SPLIT,
    params:
        dataset=dataset,
        cache=CONFIG.cache,
        base=BASE,
        code=lambda w: code("datasets", PLAN.datasets[w.data].plugin),
    log:
        "results/.logs/split/{data}/{split}.log",
    conda:
        "../../envs/base.yaml"
    script:
        "../scripts/split.py"
