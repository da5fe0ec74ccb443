# Loads and checks the configuration, includes the rules, and names the targets.
from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/extract.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    start()


localrules:
    report,
    metrics,
    fits,
    codes,
    features,


# The first target is what `snakemake` alone makes.
rule report:
    input:
        REPORT_PAGE,


rule metrics:
    input:
        EXPERIMENT_FILES,


rule fits:
    input:
        [file for run in PLAN.runs for fit in PLAN.fits(run) for file in PLAN.fit_files(fit)],


rule codes:
    input:
        [file for run in PLAN.runs for fit in PLAN.fits(run) if (file := PLAN.codes_file(fit))],


rule features:
    input:
        [file for run in PLAN.runs for file in PLAN.feature_files(run.data, run.split, run.inputs)],
