from pathlib import Path

from cmr.jobs import job
from cmr.stages import split

with job(snakemake.log[0]):
    p = snakemake.params
    items = snakemake.input.table
    folder = str(Path(items).parent)
    split(p.dataset, folder, p.cache, p.base, items, snakemake.wildcards.split, snakemake.output[0])
