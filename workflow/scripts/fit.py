from pathlib import Path

from cmr import paths
from cmr.jobs import job
from cmr.stages import fit

with job(snakemake.log[0]):
    i, p = snakemake.input, snakemake.params
    folder = str(Path(snakemake.output.model).parent)
    device = snakemake.config["machine"]["device"]
    fit(p.configuration, i.table, i.split, list(i.features), folder, paths.partial(folder), device, p.code)
