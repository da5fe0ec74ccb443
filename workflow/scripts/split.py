from pathlib import Path

from cmr.jobs import job
from cmr.stages import split

with job(snakemake.log[0]):
    dataset, machine = snakemake.params.dataset, snakemake.config["machine"]
    items = snakemake.input.table
    folder = str(Path(items).parent)
    split(dataset, folder, machine, items, snakemake.wildcards.split, snakemake.output[0])
