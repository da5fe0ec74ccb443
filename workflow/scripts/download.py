from pathlib import Path

from cmr.jobs import job
from cmr.stages import download

with job(snakemake.log[0]):
    p = snakemake.params
    record = Path(snakemake.output[0])
    download(p.dataset, str(record.parent), p.cache, p.base, str(record))
