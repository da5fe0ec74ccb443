from cmr.jobs import job
from cmr.stages import evaluate

with job(snakemake.log[0]):
    i, p = snakemake.input, snakemake.params
    outputs = dict(snakemake.output.items())
    evaluate(p.fits, p.metrics, i.table, i.split, outputs, p.device, snakemake.threads, p.code)
