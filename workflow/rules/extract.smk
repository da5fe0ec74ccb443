# Items → features: fixed extractors once a data set, fitted ones once a split.


localrules:
    weights,


rule weights:
    output:
        paths.WEIGHTS,
    params:
        feature=feature,
        cache=CONFIG.cache,
    log:
        "results/.logs/weights/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    script:
        "../scripts/weights.py"


def extract_inputs(wildcards):
    info = PLAN.features[wildcards.feature].info
    needed = {"table": paths.ITEMS.format(data=wildcards.data)}
    if info.kind == "fitted":
        needed["split"] = paths.SPLIT.format(data=wildcards.data, split=wildcards.split)
    if info.weights:
        needed["weights"] = paths.WEIGHTS.format(feature=wildcards.feature)
    return needed


rule extract:
    input:
        unpack(extract_inputs),
    output:
        paths.FEATURES,
    params:
        dataset=dataset,
        feature=feature,
        cache=CONFIG.cache,
        base=BASE,
        device=CONFIG.device,
        code=lambda w: code("extractors", PLAN.features[w.feature].plugin),
    log:
        "results/.logs/extract/{data}/{split}/{feature}.log",
    threads: 4
    resources:
        gpu=lambda w: gpus(PLAN.features[w.feature].info),
        local_gpu=lambda w: local_gpus(PLAN.features[w.feature].info),
    conda:
        "../../envs/torch.yaml"
    script:
        "../scripts/extract.py"
