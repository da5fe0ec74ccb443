# Features → coefficients of coupled dictionaries.


rule encode:
    input:
        inputs_of("encode"),
    output:
        codes=paths.CODES,
        record=paths.RECORDS["encode"],
    log:
        "results/.logs/encode/{data}/{split}/{inputs}/{dictionary}/{seed}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        **needs(
            memory=lambda w: (1000 + megabytes_of_codes(w), 40),
            time=lambda w: (30, 1),
            info=lambda w: PLAN.dictionaries[w.dictionary].info,
        ),
    shell:
        JOB
