# Items → features: fixed extractors once a data set, fitted ones once a split.


localrules:
    weights,


rule weights:
    output:
        paths.WEIGHTS,
    log:
        "results/.logs/weights/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        feature=feature,
    script:
        "../scripts/weights.py"


rule extract:
    input:
        unpack(extract_inputs),
    output:
        paths.FEATURES,
    log:
        "results/.logs/extract/{data}/{split}/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        **needs(
            "table",
            memory=lambda w: (3000, 100),
            minutes=lambda w: (120, 60),
            info=lambda w: PLAN.features[w.feature].info,
        ),
    params:
        dataset=dataset,
        feature=feature,
        code=lambda w: code("extractors", PLAN.features[w.feature].plugin),
    script:
        "../scripts/extract.py"
