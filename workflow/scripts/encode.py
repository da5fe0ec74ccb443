from cmr.jobs import job
from cmr.stages import encode

with job(snakemake.log[0]):
    i, p = snakemake.input, snakemake.params
    seed = int(snakemake.wildcards.seed)
    encode(p.dictionary, p.features, i.table, i.split, list(i.features), snakemake.output[0], seed, p.code)
