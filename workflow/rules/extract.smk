# Items → features: fixed extractors once a data set, fitted ones once a split. Of a large data set several jobs extract
# a shard each, after one job in which a fitted extractor learns, and `extract` joins them.


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


rule learn:
    input:
        inputs_of("learn"),
    output:
        state=f"{paths.SHARDS}/learned.h5",
        record=paths.RECORDS["learn"],
    log:
        "results/.logs/learn/features/{data}/{split}/{feature}.h5.shards/learned.log",
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        **needs(
            memory=lambda w: (3000, 100),
            time=lambda w: (120, 60),
            info=lambda w: PLAN.features[w.feature].info,
        ),
    shell:
        JOB


# The file with the rows is no output: Snakemake removes outputs before a job, and what the file holds counts again.
rule shard:
    input:
        inputs_of("shard"),
    output:
        record=paths.RECORDS["shard"],
    log:
        "results/.logs/shard/features/{data}/{split}/{feature}.h5.shards/{rows}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        **needs(
            memory=lambda w: (3000, 100),
            time=lambda w: (120, 60 / max(1, len(shards(w)))),
            info=lambda w: PLAN.features[w.feature].info,
            holds=lambda w: ("block of rows", 1),
        ),
    shell:
        JOB


rule extract:
    input:
        inputs_of("extract"),
        records_of_shards,
    output:
        features=paths.FEATURES,
        record=paths.RECORDS["extract"],
    log:
        "results/.logs/extract/{data}/{split}/{feature}.log",
    conda:
        "../../envs/torch.yaml"
    threads: lambda w: 1 if shards(w) else 4
    resources:
        **needs(
            memory=lambda w: (3000, 100),
            time=lambda w: (60, 1) if shards(w) else (120, 60),
            info=lambda w: None if shards(w) else PLAN.features[w.feature].info,
            holds=lambda w: ("block of rows" if shards(w) or looks_at_items_alone(w) else "all rows", 1),
        ),
    shell:
        JOB
