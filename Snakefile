# Includes the rules and names the targets.
from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/extract.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    start()


onsuccess:
    end()


localrules:
    report,
    metrics,
    fits,
    codes,
    features,


# The first target is what `snakemake` alone makes.
rule report:
    input:
        PLAN.report().files[0],


rule metrics:
    input:
        EXPERIMENT_FILES,


rule fits:
    input:
        files_of("fit"),


rule codes:
    input:
        files_of("encode"),


rule features:
    input:
        files_of("extract"),
