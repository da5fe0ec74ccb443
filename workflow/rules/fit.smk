# Features or coefficients of the training rows → a fitted method. This job does not take a test row.


rule fit:
    input:
        inputs_of("fit"),
    output:
        model=f"{paths.FIT}/model.safetensors",
        history=f"{paths.FIT}/history.csv",
        record=paths.RECORDS["fit"],
    log:
        "results/.logs/fit/{data}/{split}/{inputs}/{method}/{seed}.log",
    group:
        brief
    conda:
        "../../envs/torch.yaml"
    resources:
        **needs(
            memory=lambda w: (2000, 20),
            time=minutes_of_fit,
            info=lambda w: PLAN.methods[w.method].info,
            holds=lambda w: (PLAN.methods[w.method].info.memory, len(w.inputs.split("+"))),
        ),
        brief=one_at_a_time,
    shell:
        JOB
