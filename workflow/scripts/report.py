from pathlib import Path

from cmr import paths
from cmr.jobs import job
from cmr.reporting.page import build
from cmr.stages import picture_roots

with job(snakemake.log[0]):
    experiments = [Path(file) for file in snakemake.input]
    roots = picture_roots(snakemake.params.datasets, snakemake.config["machine"])
    build(Path(paths.RESULTS), Path(snakemake.output.page).parent, experiments, snakemake.params.title, roots)
