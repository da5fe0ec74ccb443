from pathlib import Path

from cmr.jobs import job
from cmr.stages import prepare

with job(snakemake.log[0]):
    p = snakemake.params
    items = Path(snakemake.output[0])
    prepare(p.dataset, str(items.parent), p.cache, p.base, str(items))
