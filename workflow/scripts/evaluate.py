from cmr.jobs import job
from cmr.stages import evaluate

with job(snakemake.log[0]):
    i, p = snakemake.input, snakemake.params
    outputs = dict(snakemake.output.items())
    device = snakemake.config["machine"]["device"]
    evaluate(p.fits, p.metrics, i.table, i.split, outputs, device, snakemake.threads, p.code)
