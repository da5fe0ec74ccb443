# Experiments → one page, with its figures and tables.


localrules:
    page,


def is_extended():
    """Whether the configuration asks for other results than config.yaml alone."""
    own = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
    return bool(own) and Plan(configuration.load(own[0])).identity != PLAN.identity


REPORT = paths.suffixed(paths.REPORT, PLAN.identity if is_extended() else "")
REPORT_PAGE = f"{REPORT}/index.html"


rule page:
    input:
        EXPERIMENT_FILES,
    output:
        page=report(REPORT_PAGE, caption="../report/page.rst", category="Results"),
        figures=directory(f"{REPORT}/figures"),
        tables=directory(f"{REPORT}/tables"),
    params:
        title=CONFIG.title,
        code=provenance.folder_hash("reporting"),
    log:
        "results/.logs/report.log",
    conda:
        "../../envs/base.yaml"
    script:
        "../scripts/report.py"
