# Fitted methods → embeddings of the test rows → metrics, and the index of each experiment's runs.


localrules:
    collect,


rule evaluate:
    input:
        inputs_of("evaluate"),
    output:
        metrics=of_run("metrics.json"),
        curves=of_run("curves.h5"),
        embeddings=directory(of_run("embeddings")),
        record=of_run("run.json"),
    log:
        f"results/.logs/evaluate/{{data}}/{{split}}/{{inputs}}/{{method}}/{paths.suffixed('{seed}.log', PLAN.metrics_digest)}",
    group:
        brief
    conda:
        "../../envs/torch.yaml"
    resources:
        **needs(
            memory=lambda w: (2000, 20),
            time=lambda w: (2, 0.2),
            info=lambda w: PLAN.methods[w.method].info,
            holds=lambda w: (PLAN.methods[w.method].info.memory, len(w.inputs.split("+"))),
        ),
        brief=one_at_a_time,
    shell:
        JOB


rule collect:
    input:
        inputs_of("collect"),
    output:
        record=paths.RECORDS["collect"],
    log:
        "results/.logs/collect/{experiment}.log",
    conda:
        "../../envs/base.yaml"
    shell:
        JOB
