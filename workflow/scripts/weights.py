from cmr.jobs import job
from cmr.stages import fetch_weights

with job(snakemake.log[0]):
    fetch_weights(snakemake.params.feature, snakemake.config["machine"], snakemake.output[0])
