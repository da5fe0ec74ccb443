"""The command line: what there is, what is missing, and what results say.

Modules with heavy imports are imported inside the commands that need them, so that a listing is quick.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cmr import __version__, boundary, paths, process, registry, templates
from cmr.device import cores
from cmr.errors import UserError, one_line, printable, quantity, shortened

RUN = "folder of the run: results/runs/DATA/SPLIT/INPUTS/METHOD/SEED"
CONFIG = "files that extend config.yaml: they name the cache and where the data lie"
INTERRUPTED = 130  # as a shell counts a process that Ctrl-C ended
FORMS = ("npz", "npy", "mat", "csv")
INDEX_KINDS = ("exact", "hnsw", "ivfpq")
EXPERIMENTS = "experiments"
GLOBS = {"data": "dataset", "inputs": "inputs", "method": "id", "metric": "metric", "experiment": "experiment"}
"""Filter of `summary` → the key of its rows."""

LABELS = (
    "labels of the items, FILE or FILE:KEY: numbers, names, lists, or 0 and 1 with a column a class; npy, npz, mat, "
)
LABELS += "h5, pt, csv, tsv or txt"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a `UserError` is one line on standard error and status 1, an interrupt one and status 130."""
    process.prepare()
    options = parser().parse_args(arguments)
    try:
        _check_clone()
        with boundary.reading(tree) if (tree := _tree(options)) else nullcontext():
            options.run(options)
    except UserError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # what was being written is gone by now: `cmr.publish`
        print("\nerror: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `cmr list | head`
        sys.stderr.close()
    except OSError as error:
        told = shortened(f"error: {error.filename or 'a file'}: {error.strerror or error}")
        print(printable(told), file=sys.stderr)
        sys.exit(1)


def _tree(options: argparse.Namespace) -> str | Path | None:
    """The results, or the run in them, that a command reads."""
    named: str | Path | None = getattr(options, "results", getattr(options, "folder", None))
    return named


def _check_clone() -> None:
    """Raises `UserError` in a clone whose code is not the code that runs: what is said here would be of another one."""
    here = Path.cwd() / "workflow" / "cmr"
    if here.exists() and not here.samefile(registry.PACKAGE):
        raise UserError(
            f"{here}: this clone's code is not what runs, but {registry.PACKAGE}; put PYTHONPATH=workflow before the "
            "command, or install this clone (make env)"
        )


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    found = argparse.ArgumentParser(prog="cmr", description="Cross-modal retrieval: listings and results.")
    found.add_argument("--version", action="version", version=f"cmr {__version__}")
    commands = found.add_subparsers(metavar="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.register("action", None, Once)
        command.set_defaults(run=run)
        return command

    _add_what_there_is(add)
    _add_looking(add)
    _add_new_items(add)
    _add_keeping(add)
    return found


class Once(argparse.Action):
    """Keeps the value of an option, and refuses a second one, of which argparse would keep the last without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = vars(namespace).setdefault("given", set())
        if option and self.dest in given:
            parser.error(f"{option}: given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


Add = Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser]


def _add_what_there_is(add: Add) -> None:
    begin = add("new", begin_plugin, "Begin a plug-in of one's own with a worked example.")
    begin.add_argument("template", choices=list(templates.KINDS), help="what it is")
    begin.add_argument("name", help="its name, which is the file's: letters, digits and '_'")
    begin.add_argument("--to", type=Path, help="folder of plug-ins; default: the one that the configuration names")
    _add_config(begin, "files that extend config.yaml: they name the folder of plug-ins")
    listing = add("list", list_what_there_is, "List the plug-ins, or the project's experiments.")
    listing.add_argument("kind", nargs="?", choices=[*registry.FOLDERS, EXPERIMENTS], help="one kind only")
    doctor = add("doctor", examine, "Say what is missing (weights, GPU, sbatch) and how to get it.")
    for command in (listing, doctor):
        _add_config(command)
        _add_json(command)
    check = add("check", check_data, "Look at a configuration and its data before a run; status 1 for errors.")
    check.add_argument("config", nargs="*", help="what --configfile would name: files that extend config.yaml")
    _add_json(check)
    completion = add("completion", complete, "Print a script that lets a shell complete commands and options.")
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell")


def at_least(least: int) -> Callable[[str], int]:
    """For argparse: reads a whole number that is not below ``least``."""

    def read(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text!r}")
        return int(text)

    return read


def _add_looking(add: Add) -> None:
    summary = add("summary", summarise, "Print the headline table of a results folder.")
    summary.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    for name, key in GLOBS.items():
        summary.add_argument(f"--{name}", metavar="PATTERN", help=f"only rows whose {key} matches, such as 'dla*'")
    form = summary.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="all rows as CSV")
    form.add_argument("--latex", action="store_true", help="the tables as LaTeX (booktabs)")
    _add_json(form)
    _add_config(summary)
    versus = add("compare", compare_runs, "Compare two runs query by query: difference, interval, p.")
    versus.add_argument("a", type=Path, help=f"{RUN}; without SEED the mean over all seeds")
    versus.add_argument("b", type=Path, help="the other, on the same data and split")
    versus.add_argument("--metric", default="*", metavar="PATTERN", help="only metrics that match, such as 'map@*'")
    versus.add_argument("-k", type=at_least(0), default=5, help="queries that differ most to show; default: 5")
    _add_json(versus)
    _add_config(versus)
    measure = add("metrics", measure_files, "Compute the metrics of two files of embeddings, as JSON.")
    measure.add_argument("a", type=Path, help="embeddings, FILE or FILE:KEY, one row an item")
    measure.add_argument("b", type=Path, help="embeddings of the same items, or with --owner of what belongs to them")
    relevant = measure.add_mutually_exclusive_group(required=True)
    relevant.add_argument("--labels", type=Path, help=f"{LABELS}: figures by class")
    relevant.add_argument(
        "--owner", type=Path, help="the row of A, from 0, that each row of B belongs to: figures by instance"
    )
    measure.add_argument("--separator", help="what separates several labels in one text; '' if each is one label")
    measure.add_argument(
        "--no-label",
        nargs="*",
        action="extend",
        metavar="LABEL",
        help="labels that stand for none, besides empty ones; none is given: no others",
    )
    measure.add_argument("--at", type=at_least(1), help="cut of the second mAP; default: 50")
    report = add("report", build_report, "Build the report of a results folder, which may be read-only.")
    report.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    report.add_argument("--out", type=Path, required=True, help="folder to write the page into")
    report.add_argument("--title", default="Cross-modal retrieval", help="heading of the page")
    _add_config(report, "files that extend config.yaml: they name the folder of plug-ins and where the data lie")


def _add_new_items(add: Add) -> None:
    search = add("search", search_run, "Rank the test items of a run for a new text or picture.")
    search.add_argument("folder", metavar="run", type=Path, help=RUN)
    search.add_argument("--text", help="the query, a text")
    search.add_argument("--image", type=Path, help="the query, a picture file")
    search.add_argument("-k", type=int, default=10, help="number of items; default: 10")
    search.add_argument("--html", type=Path, help="write a page with thumbnails too")
    search.add_argument(
        "--index", type=Path, help="look it up in this index, which `index` made, not in the test items"
    )
    embed = add("embed", embed_items, "Embed new pictures or texts with a run, into an HDF5 file.")
    embed.add_argument("folder", metavar="run", type=Path, help=RUN)
    embed.add_argument("--images", type=Path, help="a folder of pictures, or a list with a path a line")
    embed.add_argument("--texts", type=Path, help="a file with a text a line")
    embed.add_argument("--out", type=Path, required=True, help="HDF5 file to write: /embeddings and /ids")
    index = add("index", index_items, "Make an index of a run's test items, or of new ones, for search in millions.")
    index.add_argument("folder", metavar="run", type=Path, help=RUN)
    index.add_argument(
        "--embeddings",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="files of `embed`, in the test items' place",
    )
    place = index.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path, help="new folder to write it into")
    place.add_argument("--add", type=Path, metavar="INDEX", help="an index to add --embeddings to")
    index.add_argument("--kind", choices=INDEX_KINDS, help=f"default: {INDEX_KINDS[0]}")
    export = add("export", export_run, "Write the test embeddings of a run in another form.")
    export.add_argument("folder", metavar="run", type=Path, help=RUN)
    export.add_argument("--to", choices=FORMS, required=True, help="npy and csv are folders")
    export.add_argument("--out", type=Path, required=True, help="file or folder to write")
    for command in (search, embed, index, export):
        _add_config(command)


def _add_keeping(add: Add) -> None:
    again = add("rerun", make_again, "Make a recorded run again in a new folder, and compare the figures.")
    again.add_argument("folder", metavar="run", type=Path, help="folder of the run, in any results folder")
    again.add_argument("--directory", type=Path, required=True, help="new folder to make it in")
    verify = add("verify", verify_results, "Check every run of a results folder against its record.")
    verify.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    keep = add("accept", accept_results, "Keep results after an edit that changes no figure: a sample is made again.")
    keep.add_argument("--directory", type=Path, required=True, help="new folder to make the sample in")
    keep.add_argument("--sample", type=at_least(1), default=1, help="runs to make again of each kind; default: 1")
    prune = add("prune", prune_results, "List what no experiment refers to, with sizes.")
    prune.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    prune.add_argument("--yes", action="store_true", help="remove it")
    for command in (again, verify, keep):
        _add_config(command)
    _add_config(prune, "files that extend config.yaml, whose results are kept too")
    for command in (verify, prune):
        _add_json(command)


def _add_config(command: argparse.ArgumentParser, text: str = CONFIG) -> None:
    command.add_argument("--config", nargs="+", action="extend", default=[], metavar="FILE", help=text)


def _add_json(command: argparse._ActionsContainer) -> None:
    command.add_argument("--json", action="store_true", help="for other programs")


def begin_plugin(options: argparse.Namespace) -> None:
    from cmr import config, settings

    folder = options.to or config.plugin_folder(config.read_all(settings.files_of(options.config)))
    if folder is None:
        raise UserError("--to names the folder of plug-ins, or plugins: FOLDER in the configuration")
    _print(templates.new(options.template, options.name, Path(folder)))


def list_what_there_is(options: argparse.Namespace) -> None:
    (list_experiments if options.kind == EXPERIMENTS else list_plugins)(options)


def list_experiments(options: argparse.Namespace) -> None:
    from cmr import experiments

    found = experiments.described(options.config)
    if options.json:
        _print_json(found)
    else:
        _print("\n".join(experiments.lines(found)).rstrip())


def list_plugins(options: argparse.Namespace) -> None:
    from cmr import listing, settings

    kinds = [options.kind] if options.kind else list(registry.FOLDERS)
    found = listing.plugins(kinds, Path(settings.machine(options.config).cache), options.json)
    if options.json:
        _print_json(found[options.kind] if options.kind else found)
        return
    for kind, plugins in found.items():
        _print("\n".join([*([] if options.kind else [f"{kind}:"]), *listing.lines(kind, plugins)]))


def examine(options: argparse.Namespace) -> None:
    from cmr.doctor import findings

    found = findings(options.config)
    if options.json:
        _print_json(found)
        return
    for finding in found:
        _print(one_line(f"{'ok     ' if finding['there'] else 'missing'}  {finding['what']}: {finding['text']}"))


def complete(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(parser(), options.shell))


def check_data(options: argparse.Namespace) -> None:
    """Status 1 where a run would stop, so that a script can ask."""
    from cmr import config, settings
    from cmr.check import ERROR, check

    files = settings.files_of(options.config)
    configuration = config.validate(settings.merged(options.config), ", ".join(files) or settings.DEFAULT)
    findings = check(configuration, settings.machine(options.config))
    if options.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(one_line(f"{finding.kind:<8} {finding.what}: {finding.text}"))
    sys.exit(1 if any(finding.kind == ERROR for finding in findings) else 0)


def summarise(options: argparse.Namespace) -> None:
    from cmr.reporting import choice, measured, summary
    from cmr.reporting.unfinished import with_unfinished

    found = with_unfinished(options.results, options.config)
    patterns = {key: pattern for name, key in GLOBS.items() if (pattern := getattr(options, name))}
    rows = choice.matching(found.rows() if options.json or options.csv else found.united_rows(), patterns)
    groups = {row["group"] for row in rows}
    notes = found.notes_of([run for run in found.runs if run.group in groups])  # before a line is printed: it may fail
    if options.json:
        _print_json(rows)
    elif options.csv:
        _print(measured.as_csv(rows, found), end="")
    else:
        shown = rows if options.metric else summary.headline(rows)
        _print(choice.as_latex(shown) if options.latex else summary.table(shown))
        if others := sorted({row["metric"] for row in rows} - {row["metric"] for row in shown}):
            print(printable(f"other metrics, which --metric shows: {', '.join(others)}"), file=sys.stderr)
    for note in notes:
        print(printable(one_line(note)), file=sys.stderr)


def compare_runs(options: argparse.Namespace) -> None:
    from cmr import compare, settings

    folders = settings.machine(options.config).folders
    a = compare.seeds(options.a, options.b, options.metric, folders)
    b = compare.seeds(options.b, options.a, options.metric, folders)
    with boundary.reading(f"{options.a}, {options.b}"):
        found = compare.compare(a, b, options.metric, options.k)
    if options.json:
        _print_json([asdict(comparison) for comparison in found])
    else:
        _print(compare.described(found, a, b))


def measure_files(options: argparse.Namespace) -> None:
    from cmr.datasets.labels import LabelReader
    from cmr.measure import metrics_of_files, recall_of_files

    if options.owner:
        if any(value is not None for value in (options.at, options.separator, options.no_label)):
            raise UserError("--at, --separator and --no-label go with --labels: the cuts by instance are 1, 5 and 10")
        _print_json(recall_of_files(options.a, options.b, options.owner))
    else:
        reader = LabelReader(options.separator, options.no_label)
        _print_json(metrics_of_files(options.a, options.b, options.labels, options.at or 50, reader=reader))


def build_report(options: argparse.Namespace) -> None:
    from cmr import settings
    from cmr.publish import check_free
    from cmr.reporting.page import build

    machine = settings.machine(options.config)  # with it titles and metrics of one's own plug-ins
    check_free(options.out)
    _print(build(Path(options.results), options.out, title=options.title, folders=machine.folders))


def search_run(options: argparse.Namespace) -> None:
    """Checks the query before anything slow is imported."""
    if (options.text is None) == (options.image is None):
        raise UserError("give either --text or --image")
    if options.text is not None and not options.text.strip():
        raise UserError("--text is empty")
    from cmr import search, settings
    from cmr.publish import check_no_file

    if options.html:
        check_no_file(options.html)

    machine = settings.machine(options.config)
    run = search.find(options.folder, machine.folders)
    modality, query = (search.TEXT, options.text) if options.image is None else (search.IMAGE, options.image)
    root = search.pictures(run, machine) if options.html else None  # before an answer is printed: it may fail
    answers = search.search(run, modality, query, options.k, machine, options.index)
    _print(search.table(answers))
    if root is not None:
        search.write_page(options.html, run, query, answers, root, machine.folders)


def embed_items(options: argparse.Namespace) -> None:
    if (options.texts is None) == (options.images is None):
        raise UserError("give either --texts or --images")
    from cmr import embedding, search, settings

    machine = replace(settings.machine(options.config), threads=cores())
    run = search.find(options.folder, machine.folders)
    items = embedding.texts(options.texts) if options.images is None else embedding.pictures(options.images)
    rows, columns = embedding.embed(run, items, options.out, machine)
    _print(f"{options.out}: {rows} x {columns}")


def index_items(options: argparse.Namespace) -> None:
    if options.add and (options.kind or not options.embeddings):
        raise UserError("--add keeps the kind of its index, and takes the new items from --embeddings")
    from cmr import search, search_index, settings

    run = search.find(options.folder, settings.machine(options.config).folders)
    threads = cores()
    if options.add:
        made = search_index.add(run, options.add, options.embeddings, threads)
    else:
        made = search_index.make(run, options.out, options.kind or INDEX_KINDS[0], options.embeddings, threads)
    for index in made:
        _print(search_index.described(index))


def export_run(options: argparse.Namespace) -> None:
    from cmr import export, search, settings

    run = search.find(options.folder, settings.machine(options.config).folders)
    for written in export.export(run, options.to, options.out):
        _print(written)


def make_again(options: argparse.Namespace) -> None:
    """Status 1 where a figure differs, so that a script can ask."""
    from cmr import settings
    from cmr.rerun import described, rerun
    from cmr.search import find

    machine = settings.machine(options.config)
    comparison = rerun(find(options.folder, machine.folders), options.directory, machine)
    _print(described(comparison))
    sys.exit(1 if comparison.differing else 0)


def verify_results(options: argparse.Namespace) -> None:
    """Status 1 where anything is found, so that a script can ask."""
    from cmr import settings
    from cmr.sharing import verify

    runs, findings = verify(options.results, settings.machine(options.config))
    if options.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(one_line(f"{finding.kind:<8} {finding.path}: {finding.reason}"))
        found = quantity(len(findings), "finding") if findings else "all are as their records say"
        _print(f"{quantity(runs, 'run')} checked: {found}")
    sys.exit(1 if findings else 0)


def accept_results(options: argparse.Namespace) -> None:
    """Status 1 where a run came out another way, so that a script can ask."""
    from cmr import settings
    from cmr.accept import accept, described

    outcome = accept(settings.machine(options.config), options.directory, options.sample)
    _print(described(outcome))
    sys.exit(0 if all(outcome.compared.values()) else 1)


def prune_results(options: argparse.Namespace) -> None:
    from cmr import settings
    from cmr.sharing import prune

    pruned = prune(options.results, options.config, options.yes, settings.machine(options.config).folders)
    found = pruned.found
    if options.json:
        _print_json([{"path": str(item.path), "bytes": item.size} for item in found])
        return
    for item in found:
        _print(one_line(f"{item.size / 1e6:10.1f} MB  {item.path}"))
    _print(f"kept: what is needed for {', '.join(pruned.kept_for) or 'nothing'}")
    done = "removed" if options.yes else "no experiment refers to; --yes removes it"
    _print(f"{sum(item.size for item in found) / 1e6:10.1f} MB  {done if found else 'nothing to remove'}")


def _print_json(value: Any) -> None:
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    _print(json.dumps(value, indent=1, ensure_ascii=ascii_only))


def _print(text: object, end: str = "\n") -> None:
    print(printable(str(text)), end=end)
