# Experiments → one page, with its figures and tables.


localrules:
    page,


rule page:
    input:
        PLAN.report().input_files,
    output:
        page=report(f"{PLAN.report_folder}/index.html", caption="../report/page.rst", category="Results"),
        figures=directory(f"{PLAN.report_folder}/figures"),
        tables=directory(f"{PLAN.report_folder}/tables"),
        record=f"{PLAN.report_folder}/report.json",
    log:
        "results/.logs/report.log",
    conda:
        "../../envs/base.yaml"
    shell:
        JOB
