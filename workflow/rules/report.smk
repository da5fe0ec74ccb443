# Experiments → one page, with its figures and tables.


localrules:
    page,


REPORT = paths.suffixed(paths.REPORT, PLAN.identity if is_extended() else "")
REPORT_PAGE = f"{REPORT}/index.html"


rule page:
    input:
        EXPERIMENT_FILES,
    output:
        page=report(REPORT_PAGE, caption="../report/page.rst", category="Results"),
        figures=directory(f"{REPORT}/figures"),
        tables=directory(f"{REPORT}/tables"),
    log:
        "results/.logs/report.log",
    conda:
        "../../envs/base.yaml"
    params:
        title=CONFIG.title,
        datasets={name: entry.model_dump(mode="json") for name, entry in PLAN.datasets.items()},
        code=provenance.folder_hash("reporting"),
    script:
        "../scripts/report.py"
