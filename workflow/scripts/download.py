from pathlib import Path

from cmr.jobs import job
from cmr.stages import download

with job(snakemake.log[0]):
    record = Path(snakemake.output[0])
    download(snakemake.params.dataset, str(record.parent), snakemake.config["machine"], str(record))
