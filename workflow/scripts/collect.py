from cmr.jobs import job
from cmr.stages import collect

with job(snakemake.log[0]):
    p = snakemake.params
    collect(p.experiment, p.runs, p.metrics, p.run, snakemake.output[0])
