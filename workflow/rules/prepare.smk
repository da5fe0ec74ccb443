# Raw data → items table → named splits.


localrules:
    download,


rule download:
    output:
        record=paths.RECORDS["download"],
    log:
        "results/.logs/download/{data}.log",
    conda:
        "../../envs/base.yaml"
    shell:
        JOB


rule prepare:
    input:
        inputs_of("prepare"),
    output:
        table=paths.ITEMS,
        contents=paths.CONTENTS,
        record=paths.RECORDS["prepare"],
    log:
        "results/.logs/prepare/{data}.log",
    group:
        "prepare"
    conda:
        "../../envs/base.yaml"
    resources:
        **needs(memory=lambda w: (2000, 0), time=lambda w: (60, 0)),
    shell:
        JOB


if UNPREPARED:
    snakemake_internals.make_checkpoint(workflow, "prepare")


rule split:
    input:
        inputs_of("split"),
    output:
        table=paths.SPLIT,
        record=paths.RECORDS["split"],
    log:
        "results/.logs/split/{data}/{split}.log",
    group:
        "prepare"
    conda:
        "../../envs/base.yaml"
    resources:
        **needs(memory=lambda w: (2000, 10), time=lambda w: (10, 1)),
    shell:
        JOB
