from pathlib import Path

from cmr import paths
from cmr.jobs import job
from cmr.stages import extract

with job(snakemake.log[0]):
    p = snakemake.params
    extract(
        entry=p.feature,
        dataset=p.dataset,
        folder=str(Path(snakemake.input.table).parent),
        machine=snakemake.config["machine"],
        items=snakemake.input.table,
        split=snakemake.input.get("split"),
        weights=snakemake.input.get("weights"),
        output=snakemake.output[0],
        partial=paths.partial(snakemake.output[0]),
        threads=snakemake.threads,
        code=p.code,
    )
