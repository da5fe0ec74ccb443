# Helper functions of the rules: from wildcards to the plan's entries, and what jobs need.
import atexit
import functools
import math
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The package that this Snakefile belongs to, also where another one is installed. In a clone it is in
# workflow/; an installed one has this Snakefile in cmr/project/.
HERE = Path(workflow.basedir)
if set("{}") & set(str(HERE)):
    raise WorkflowError(f"{HERE}: Snakemake takes braces in a folder's name for wildcards; give it another name")
sys.path.insert(0, str(HERE / "workflow" if (HERE / "workflow" / "cmr").exists() else HERE.parents[1]))

from cmr import (
    boundary,
    cluster,
    config as configuration,
    expected,
    job,
    missing,
    paths,
    registry,
    snakemake_internals,
)
from cmr.device import gpu_is_here
from cmr.errors import UserError, printable
from cmr.machine import Machine
from cmr.memory import LONGEST, Size, minutes, request, size_of
from cmr.plan import Plan, shards_of
from cmr.shards import count

os.umask(0o002)  # what Snakemake itself writes is the group's too, as in cmr.job

if os.path.exists("config.yaml"):
    try:
        configuration.read("config.yaml")  # before Snakemake, which would execute a template
    except UserError as error:
        raise WorkflowError(printable(str(error)))


configfile: "config.yaml"


SITE_FILE = HERE / "slurm" / "site.yaml"

OWN_CONFIG = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
CONFIG_FILES = [*OWN_CONFIG, *workflow.overwrite_configfiles]

try:
    read_files = configuration.read_all(CONFIG_FILES)
    configuration.check_is_of_files(config, read_files)
    BASE = configuration.data_base(read_files)
    PLUGINS = configuration.plugin_folder(read_files)
    registry.use(PLUGINS)
    located = configuration.with_located_features(config, read_files)
    CONFIG = configuration.validate(located, ", ".join(map(str, CONFIG_FILES)) or "configuration")
    MACHINE = Machine(CONFIG.cache, CONFIG.device, BASE, CONFIG.data_root, plugins=PLUGINS)
    WHOLE = Plan(CONFIG)
    CONFIG, LEFT_OUT = missing.without_missing(CONFIG, MACHINE)
    PLAN = Plan(CONFIG)
    if OWN_CONFIG and not WHOLE.is_that_of(OWN_CONFIG[0]):
        # Other results than those of config.yaml alone: a page of their own, the same however many data are here.
        PLAN = Plan(CONFIG, paths.suffixed(paths.REPORT, WHOLE.identity))
    PLAN.check_directions()
    for entry in PLAN.datasets.values():
        configuration.check_own_files(entry, BASE)
    SITE = cluster.load(SITE_FILE)
    cluster.check_writable(job.FOLDER)  # before Snakemake meets it with a stack trace, in a dry run too
    PLAN_FILE = job.write(CONFIG, MACHINE, PLAN.report_folder)
except UserError as error:
    alone = (
        ""
        if os.path.exists("config.yaml")
        else "\nno config.yaml is here for --configfile to extend; copy the project's"
    )
    raise WorkflowError(printable(f"{error}{alone}"))


# One command line for all rules: a job makes the result whose record it is given, and reads from the plan what that needs.
# PYTHON is Snakemake's own, or that of the rule's environment where Snakemake makes one.
PYTHON = "python" if workflow.deployment_settings.deployment_method else sys.executable
JOB_FILE = str(HERE / "workflow" / "scripts" / "job.py")
JOB = (
    " ".join(
        shlex.quote(part).replace("{", "{{").replace("}", "}}") for part in (PYTHON, JOB_FILE, "--plan", PLAN_FILE)
    )
    + " --log {log:q} --threads {threads} {output.record:q}"
)

PROGRESS = snakemake_internals.say_a_line_a_job(workflow)

# What would be another result now is made again, whatever Snakemake's notes and the times of files say.
snakemake_internals.leave_to_records()
snakemake_internals.keep_what_is_whole()


def stale_results():
    try:
        return list(expected.Expected(MACHINE).stale([*PLAN.results(), *expected.begun(PLAN)]))
    except UserError as error:
        raise WorkflowError(printable(str(error)))


def files_of_stale(results):
    return [file for stale in results for file in (stale.result.record, *stale.result.files)]


STALE = []
if workflow.remote_exec:
    snakemake_internals.go_on(lambda: files_of_stale(stale_results()))
else:
    STALE = stale_results()
    for line in LEFT_OUT:
        print(printable(line), file=sys.stderr)
    snakemake_internals.force(files_of_stale(STALE))
    if line := expected.described(STALE):
        print(line, file=sys.stderr)


# Data sets whose number of items is not known yet, and so not how many jobs extract their features.
UNPREPARED = {stale.result.record for stale in STALE if stale.result.stage == "prepare"}
for prepared in map(PLAN.items, PLAN.datasets):
    if not all(map(os.path.exists, (prepared.record, *prepared.files))):
        UNPREPARED.add(prepared.record)


WORKING = ExitStack()
atexit.register(WORKING.close)  # when Snakemake ends


def start():
    """Before the first job: what would let all of them fail is said at once."""
    snakemake_internals.lift_rate_limit(workflow)
    try:
        cluster.check_writable(paths.RESULTS)
        os.makedirs(paths.RESULTS, exist_ok=True)
        WORKING.enter_context(boundary.in_use(paths.RESULTS))
        if on_cluster():
            sent = (job for job in workflow.dag.needrun_jobs() if not job.is_local)
            on_gpu = bool(snakemake_internals.ask_for_gpu(sent))
            cluster.preflight(SITE, SITE_FILE, workflow.resource_settings.nodes, on_gpu)
            if remembered := cluster.remembered():
                snakemake_internals.ask_within(workflow, remembered)
            os.environ.update(SITE.environment)  # sbatch hands it on to the jobs
    except UserError as error:
        raise WorkflowError(printable(str(error)))


def end():
    """After the last job: the headline table and the page's path, where the page is a new one."""
    if written(PAGE) == PAGE_BEFORE:
        return
    from cmr.reporting import collect, summary

    rows = collect.load(paths.RESULTS, EXPERIMENT_FILES, MACHINE.folders).united_rows()
    print(printable(f"\n{summary.table(summary.headline(rows))}\n\nreport: {os.path.abspath(PAGE)}"))


def written(file):
    """When a file was written; None where there is none."""
    return os.stat(file).st_mtime_ns if os.path.exists(file) else None


def on_cluster():
    """Whether jobs are sent from here, or here is one. Known once the workflow starts, not while this file is read."""
    return workflow.remote_exec or not workflow.local_exec


@functools.cache
def longest(gpus):
    """Minutes that a job asks for at most."""
    return cluster.longest(SITE, gpus) if on_cluster() and not workflow.remote_exec else LONGEST


if not workflow.remote_exec:
    snakemake_internals.bound_groups(longest)


EXPERIMENT_FILES = [paths.EXPERIMENT.format(experiment=experiment) for experiment in PLAN.runs_of]
PAGE = PLAN.report().files[0]
PAGE_BEFORE = written(PAGE)
GPU_HERE = gpu_is_here()


# A cluster job runs its short runs one after another, and has one GPU; how many the cluster has is for SLURM to know.
# Set here, not in a profile, which Snakemake does not read again inside a job.
resource_scopes:
    gpu="local",
    brief="local",


snakemake_internals.limit(workflow, "brief", 1)
if workflow.remote_exec:
    snakemake_internals.limit(workflow, "gpu", 1)


wildcard_constraints:
    data="[^/]+",
    split="[^/]+",
    feature="[^/]+",
    inputs="[^/]+",
    dictionary="[^/]+",
    method="[^/]+",
    experiment="[^/]+",
    seed=r"\d+",
    rows=r"\d+-\d+",


def files_of(stage):
    """All of them, so that one that was deleted is made again."""
    results = [result for result in PLAN.results() if result.stage == stage]
    return [file for result in results for file in (result.record, *result.files)]


def inputs_of(stage):
    """The input of a rule: all files that its job may read of other results."""
    return lambda wildcards: PLAN.result(stage, wildcards).input_files


def shards(wildcards):
    """The jobs that features are joined from; none where one job extracts them, and while it is not known."""
    features = PLAN.result("extract", wildcards)
    return () if features.source("prepare").record in UNPREPARED else cut(features)


@functools.cache
def cut(features):
    modality = features.settings["feature"]["modality"]
    try:
        found = shards_of(features, count(features.source("prepare").files[0], modality))
    except UserError as error:
        raise WorkflowError(printable(str(error)))
    PROGRESS.left.update(shard=len(found))
    return found


def records_of_shards(wildcards):
    """The input of `extract` beside what it is made from. Data are prepared before: that is asked for here."""
    prepared = PLAN.result("extract", wildcards).source("prepare")
    if prepared.record in UNPREPARED:
        checkpoints.prepare.get(data=wildcards.data)
        UNPREPARED.discard(prepared.record)
    return [shard.record for shard in shards(wildcards)]


def looks_at_items_alone(wildcards):
    """Whether an extractor computes each item by itself: it learns nothing from rows, and its features are not ready."""
    info = PLAN.features[wildcards.feature].info
    return info.kind == "fixed" and info.modality != "any"


def of_run(name):
    """A file of a run; its name carries a digest where other metrics than the default ones are configured."""
    return f"{paths.RUN}/{paths.suffixed(name, PLAN.metrics_digest)}"


def gpus(info):
    """1 for a plug-in that uses a GPU: on a cluster always, on this machine where it has one or one is demanded."""
    wanted = info.gpu and CONFIG.device != "cpu"
    return int(wanted and (CONFIG.device == "cuda" or GPU_HERE or on_cluster()))


def brief(wildcards):
    """The group of a short run: those of methods without a GPU share a cluster job, each with files of its own."""
    if PLAN.methods[wildcards.method].info.gpu:
        return None
    if workflow.remote_exec:
        # One Snakemake for all runs of the job, not one each: the executor does not hand on the profile's number.
        snakemake_internals.join_group(workflow, "brief", len(PLAN.runs))
    return "brief"


def one_at_a_time(wildcards):
    """1 for a short run on a cluster: those of one cluster job run one after another."""
    return int(on_cluster() and brief(wildcards) is not None)


def candidates(wildcards):
    """How many fits of a method one job makes, to choose among them."""
    return math.prod(map(len, PLAN.methods[wildcards.method].tune.values()))


def minutes_of_fit(wildcards):
    """At least, and for each MB: of every candidate. A network takes longer without a GPU."""
    info = PLAN.methods[wildcards.method].info
    of_one = (2, 0.2) if not info.gpu else (5, 1) if gpus(info) else (15, 1)
    return [number * candidates(wildcards) for number in of_one]


def megabytes_of_codes(wildcards):
    """As they are computed, in float64."""
    atoms = getattr(PLAN.dictionaries[wildcards.dictionary].parameters(), "atoms", ())
    return sum(atoms) * items_among(wildcards, PLAN.items(wildcards.data).files).rows * 8 / 1e6


def megabytes(files):
    """Of those that are there: a job of a group asks before the others have made what it reads of theirs."""
    return sum(map(os.path.getsize, filter(os.path.exists, files))) / 1e6


def items_among(wildcards, files):
    """The size of the items table among a job's input; nothing where it reads none."""
    table = PLAN.items(wildcards.data).files[0]
    return size_of(table, written(table)) if table in files and os.path.exists(table) else Size(0, 0)


def needs(memory, time, info=lambda wildcards: None, holds=lambda wildcards: ("all rows", 1)):
    """A rule's resources, from the size (MB) of its input; more on every further attempt.

    ``memory`` and ``time``, by wildcards: MB and minutes that a job needs at least, and what each MB adds. ``info``: its
    plug-in's. ``holds``: what of the rows is in memory at a time, and of how many matrices; see `cmr.memory.request`.
    """

    def memory_asked(wildcards, input, attempt):
        size, items = megabytes(input), items_among(wildcards, input)
        return math.ceil(request(*memory(wildcards), size, items, *holds(wildcards)) * attempt)

    def gpus_asked(wildcards):
        plugin = info(wildcards)
        return gpus(plugin) if plugin else 0

    def minutes_asked(wildcards, input, attempt):
        return minutes(*time(wildcards), megabytes(input), attempt, longest(gpus_asked(wildcards)))

    def from_site(key):
        return lambda wildcards: SITE.resources(gpus_asked(wildcards)).get(key)

    return {
        **{key: from_site(key) for key in cluster.RESOURCES},
        "mem_mb": memory_asked,
        "runtime": minutes_asked,
    }
