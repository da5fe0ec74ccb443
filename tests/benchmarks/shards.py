"""Features of a data set that is cut into shards: what the joining costs, and the same bytes as from one job.

    python tests/benchmarks/shards.py joining              # concatenation beside a virtual data set, 20 × 20,480 rows
    python tests/benchmarks/shards.py pictures 100000 20   # a whole extraction: number of pictures, and of shards
    python tests/benchmarks/shards.py slurm 100000 25      # the same pictures, by one job and through SLURM
    python tests/benchmarks/shards.py plan 1000            # a dry run of 21 runs on two features of so many shards each

``pictures`` makes a data set of PNGs of 32 × 32 and extracts SIFT histograms of a small vocabulary, by one job, by the
shards on two cores, and by the shards with a SIGKILL in the middle; it compares the bytes, and says which shards were
made twice. Seconds are wall time. ``slurm`` needs a cluster that answers, which `tests/cluster/up.sh` starts with two
pretend GPUs; the extractor then says that it takes one, and its shards are of 4,096 pictures at least.

``plan`` compares with the dry run of the same experiment where each feature is one job, which has the same imports.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers

from cmr import store
from cmr.features import joining

ROOT = Path(__file__).parents[2]
SHARDS, ROWS, COLUMNS = 20, 20_480, 1280


def joining_costs(folder: Path) -> None:
    """A file of shards' rows, written and read, either way; the features lie in memory as far as the system keeps them."""
    generator = np.random.default_rng(0)
    files = [folder / f"{number}.h5" for number in range(SHARDS)]
    for file in files:
        with h5py.File(file, "w") as opened:
            opened["features"] = generator.random((ROWS, COLUMNS), np.float32)
    ids = np.array([f"item-{row}" for row in range(SHARDS * ROWS)])
    whole, virtual = folder / "whole.h5", folder / "virtual.h5"

    def concatenate() -> None:
        store.write_matrix(whole, "features", ids, joining.features(files, "/"), {})

    def link() -> None:
        layout = h5py.VirtualLayout((SHARDS * ROWS, COLUMNS), np.float32)
        for number, file in enumerate(files):
            layout[number * ROWS : (number + 1) * ROWS] = h5py.VirtualSource(file, "features", (ROWS, COLUMNS))
        with h5py.File(virtual, "w") as opened:
            opened.create_virtual_dataset("features", layout)
            opened.create_dataset("ids", data=ids.astype(object), dtype=store.TEXT)

    print(f"{SHARDS} shards of {ROWS:,} × {COLUMNS} float32, {SHARDS * ROWS * COLUMNS * 4 / 1e9:.1f} GB")
    timed("concatenate, with two looks at every value", concatenate)
    timed("make a virtual data set", link)
    for name, file in (("concatenated", whole), ("virtual", virtual)):
        with h5py.File(file) as opened:
            rows = opened["features"]
            timed(f"read all, {name}", lambda rows=rows: [rows[at : at + 4096] for at in range(0, len(rows), 4096)])
            picked = np.sort(generator.choice(len(rows), 2000, replace=False))
            timed(f"read 2,000 rows here and there, {name}", lambda rows=rows, picked=picked: rows[picked])


def timed(what: str, work) -> float:  # type: ignore[no-untyped-def]
    begun = time.perf_counter()
    work()
    taken = time.perf_counter() - begun
    print(f"{what:<45} {taken:8.2f} s", flush=True)
    return taken


# A whole extraction ------------------------------------------------------------------------------------------------


def pictures(folder: Path, n: int, shards: int) -> None:
    whole = project(folder / "whole", n, rows_per_job=n)
    timed(f"prepare {n:,} pictures", lambda: snakemake(whole, prepared(whole)))
    cut, killed = (whole.with_name(name) for name in ("cut", "killed"))
    rows_per_job = -(-n // shards // 256) * 256
    for copy in (cut, killed):
        shutil.copytree(whole, copy, symlinks=True)
        configure(copy, rows_per_job)
    timed("one job", lambda: snakemake(whole, "features"))
    timed("shards, two at once", lambda: snakemake(cut, "features"))
    interrupt(killed, after=shards // 2)
    begun = set(names(killed, "h5"))
    done = set(names(killed, "json"))
    print(f"killed with {len(done)} shards done and {len(begun - done)} in the middle")
    again = snakemake(killed, "features")
    made = set(re.findall(r"  shard .* (\d+-\d+)(?:  |$)", again, re.MULTILINE))
    print(f"after it {len(made)} shards were made, {len(made & done)} of them for the second time")
    bytes_of = {place.name: feature(place).read_bytes() for place in (whole, cut, killed)}
    print(f"{len(bytes_of['whole']):,} bytes; the same in all three: {len(set(bytes_of.values())) == 1}")


def through_slurm(folder: Path, n: int, shards: int) -> None:
    whole = project(folder / "whole", n, rows_per_job=n)
    extractor = whole / "workflow" / "cmr" / "features" / "sift_bovw.py"
    extractor.write_text(extractor.read_text().replace('    kind="fitted",\n', '    kind="fitted",\n    gpu=True,\n'))
    configure(whole, n, device="auto")
    snakemake(whole, prepared(whole))
    cluster = shutil.copytree(whole, whole.with_name("cluster"), symlinks=True)
    configure(cluster, -(-n // shards // 4096) * 4096, device="auto")
    (cluster / "slurm" / "site.yaml").write_text("account: lab\npartition: cpu\ngpu_partition: gpu\n")
    timed("one job, here", lambda: snakemake(whole, "features"))
    begun = time.strftime("%Y-%m-%dT%H:%M:%S")
    timed("shards through SLURM", lambda: snakemake(cluster, "features", "--profile", "slurm"))
    asked = ["sacct", "-X", "-n", "-P", "-S", begun, "-o", "Comment,AllocTRES,Start,End,State"]
    jobs = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    of_shards = [job for job in jobs if "shard" in job.split("|")[0]]
    with_gpu = sum("gres/gpu=1" in job for job in of_shards)
    print(
        f"{len(of_shards)} jobs of shards, {with_gpu} with a GPU each, {sum('COMPLETED' in j for j in of_shards)} done"
    )
    print(f"the same bytes: {feature(whole).read_bytes() == feature(cluster).read_bytes()}")


def project(place: Path, n: int, rows_per_job: int) -> Path:
    """A clone with ``n`` pictures: a coarse pattern of its own in each."""
    for name in ("workflow", "profiles", "slurm", "envs", "resources"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copy(ROOT / "Snakefile", place)
    generator = np.random.default_rng(0)
    data = place.parent / "data"
    for start in range(0, n, 1000):
        (data / str(start)).mkdir(parents=True)
        for row in range(start, min(start + 1000, n)):
            coarse = generator.integers(0, 256, (4, 4, 3), np.uint8)
            Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(data / str(start) / f"{row}.png", compress_level=1)
    numbers = np.arange(n)
    table = {
        "picture": [f"{row // 1000 * 1000}/{row}.png" for row in numbers],
        "class": np.array(list("abcd"))[numbers % 4],
        "part": np.where(numbers % 25 == 0, "train", "test"),
    }
    pd.DataFrame(table).to_csv(data / "table.csv", index=False)
    configure(place, rows_per_job)
    return place


def configure(place: Path, rows_per_job: int, device: str = "cpu") -> None:
    params = {"file": "table.csv", "image": "picture", "label": "class", "split": "part"}
    configuration = {
        "base": "../data",
        "device": device,
        "datasets": [{"id": "many", "dataset": "table", "params": params}],
        "features": [{"id": "sift", "extractor": "sift_bovw", "params": {"words": 16}}],
        "metrics": ["mean_average_precision"],
        "experiments": [{"id": "main", "data": ["many"], "inputs": [["sift"]], "methods": ["random"]}],
        "rows_per_job": rows_per_job,
    }
    (place / "config.yaml").write_text(yaml.safe_dump(configuration))


def command(place: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    here = () if "--profile" in arguments else ("--set-threads", "shard=1", "--cores", "2")
    return [sys.executable, "-m", "snakemake", *here, *arguments], {
        **os.environ,
        "PYTHONPATH": "",
        "OMP_NUM_THREADS": "1",
    }


def snakemake(place: Path, *arguments: str) -> str:
    line, environment = command(place, *arguments)
    done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout + done.stderr


def interrupt(place: Path, after: int) -> None:
    """SIGKILL for Snakemake and its jobs, once ``after`` shards are done and another one has finished a chunk."""
    line, environment = command(place, "features")
    process = subprocess.Popen(
        line, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while len(names(place, "json")) < after or not set(names(place, "h5")) - set(names(place, "json")):
        if process.poll() is not None:
            sys.exit("the run ended before it could be killed; take more pictures")
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    snakemake(place, "--unlock")


def names(place: Path, ending: str) -> list[str]:
    return [file.stem for file in place.glob(f"results/.partial/features/*/*/*.shards/*-*.{ending}")]


def prepared(place: Path) -> str:
    plan = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "features"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    ).stdout
    return re.findall(r"results/data/\S+/splits/\w+\.csv", plan)[0].rstrip(",")


def feature(place: Path) -> Path:
    (file,) = place.glob("results/features/*/*/*.h5")
    return file


# The plan ----------------------------------------------------------------------------------------------------------


def planned(folder: Path, shards: int) -> None:
    """Dry runs on items that are prepared, without pictures: what is planned reads none."""
    from cmr.data import Items
    from toy_plan import Project

    params = {"file": "data.csv", "image": "picture", "text": "caption", "label": "label"}
    methods = ["random", "cca", "ridge_label", "pls", "dscmr", "acmr"]
    configuration = {
        "datasets": [{"id": "many", "dataset": "table", "params": params}],
        "features": [{"id": "sift", "extractor": "sift_bovw"}],
        "experiments": [
            {"id": "main", "data": ["many"], "inputs": [["sift", "bow"]], "methods": methods, "seeds": 6},
        ],
        "device": "cpu",
    }
    folder.joinpath("data.csv").write_text("picture,caption,label\n")
    project, ids = Project(folder, configuration), np.arange(shards * 256).astype(str).astype(object)
    made = project.only("prepare")
    with project.by_hand(made):
        table = pd.DataFrame({"id": ids, "image": ids, "text": ids, "labels": [["a"]] * len(ids)})
        Items(table, {"image": "image", "text": "text"}).write(made.files[0])
        Path(made.files[1]).write_text("")
    dry = ["-n", "-s", str(ROOT / "Snakefile"), "--directory", ".", "--configfile", "plan.yaml"]
    for rows in (len(ids), 256):
        (folder / "plan.yaml").write_text(yaml.safe_dump(configuration | {"rows_per_job": rows}))
        begun, told = os.times().children_user, snakemake(folder, *dry)
        jobs = re.findall(r"^total +(\d+)", told, re.MULTILINE)[0]
        print(f"a dry run of {jobs} jobs: {os.times().children_user - begun:.1f} s of a processor")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        if sys.argv[1:] == ["joining"]:
            joining_costs(Path(temporary))
        elif sys.argv[1] == "plan":
            planned(Path(temporary), int(sys.argv[2]))
        else:
            tried = {"pictures": pictures, "slurm": through_slurm}[sys.argv[1]]
            tried(Path(temporary), int(sys.argv[2]), int(sys.argv[3]))


if __name__ == "__main__":
    main()
