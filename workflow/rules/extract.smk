# Items → features: fixed extractors once a data set, fitted ones once a split.


localrules:
    weights,


rule weights:
    output:
        record=paths.RECORDS["weights"],
    log:
        "results/.logs/weights/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    shell:
        JOB


rule extract:
    input:
        inputs_of("extract"),
    output:
        features=paths.FEATURES,
        record=paths.RECORDS["extract"],
    log:
        "results/.logs/extract/{data}/{split}/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        **needs(
            memory=lambda w: (3000, 100),
            minutes=lambda w: (120, 60),
            info=lambda w: PLAN.features[w.feature].info,
        ),
    shell:
        JOB
