from pathlib import Path

from cmr.jobs import job
from cmr.stages import prepare

with job(snakemake.log[0]):
    items = Path(snakemake.output[0])
    prepare(snakemake.params.dataset, str(items.parent), snakemake.config["machine"], str(items))
