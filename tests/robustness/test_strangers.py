"""Results trees and files of strangers: nothing of theirs is executed, trusted, followed or taken without measure."""

import errno
import fcntl
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse
import torch
from PIL import Image

import cmr
from cmr import boundary, cli, config, create, job, measure, recorded, rerun, search
from cmr.content import Hashes
from cmr.data import Items
from cmr.datasets import downloads, matlab
from cmr.datasets.folder import samples_below
from cmr.datasets.formats import read_array, read_offsets
from cmr.errors import BadContent, UserError
from cmr.features.networks import read_weights
from cmr.features.pretrained import concatenated_hash
from cmr.machine import Machine
from cmr.pictures import read_rgb
from cmr.provenance import file_hash
from cmr.publish import read_json
from cmr.reporting import page, tables
from cmr.reporting.collect import load
from cmr.reporting.gallery import Catalogue, thumbnail
from cmr.reporting.page import build
from cmr.sets import Sets
from cmr.sharing import prune, verify
from cmr.store import Rows, open_hdf5, read_matrix, read_rows, write_groups, write_matrix
from reporting_tree import write_tree
from toy_clones import ROOT
from toy_plan import Project, experiment

RUN = "runs/shapes/default/lite0+bert/cca/0"


class Marks:
    """What runs a command when it is unpickled: it leaves a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A stranger's results, in a folder of the user's without a configuration. Figures are not drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "draw_all", lambda folder, figures: {figure.name: "" for figure in figures})
    return write_tree(tmp_path / "theirs" / "results", methods=["cca"], n=16)


def changed(file, change):
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def pickled(tmp_path):
    """A pickle that leaves a mark, the entry of a feature that trusts it, and the mark."""
    file, mark = tmp_path / "model", tmp_path / "executed"
    file.write_bytes(pickle.dumps(Marks(mark)))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    params = {"pretrained": "model", "trust": True, "sha256": sha256}
    return {"id": "bert", "extractor": "doc2vec", "modality": "text", "params": params}, mark


def refused(call, *arguments):
    """What is said where something is refused, in one line."""
    with pytest.raises(UserError) as told:
        call(*arguments)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    return str(told.value)


# Trust ----------------------------------------------------------------------------------------------------------------


@pytest.mark.mended("`cmr rerun` and `cmr search` executed a pickle that somebody's run.json said was trusted")
def test_trust_is_not_a_records_to_give(tree, tmp_path):
    entry, mark = pickled(tmp_path)
    changed(tree / RUN / "run.json", lambda run: run["fits"][0]["features"].__setitem__(1, entry))
    machine = Machine(device="cpu")
    for call in (
        lambda: search.search(search.find(tree / RUN), "text", "meow", 1, machine),
        lambda: rerun.rerun(search.find(tree / RUN), tmp_path / "new", machine),
    ):
        assert "trust: true does not count" in refused(call)
        assert not mark.exists()
        assert not (tmp_path / "new").exists()
    verify(tree, machine)
    cli.main(["report", str(tree), "--out", "page"])
    assert not mark.exists()
    assert "trust: true" not in Path("page/index.html").read_text()


def test_trust_that_the_user_gives_counts(tree, tmp_path):
    entry, mark = pickled(tmp_path)
    own = {"features": [{key: entry[key] for key in ("id", "extractor", "params")}]}
    boundary.check_trust([entry], boundary.trusted_by(own), "run.json")
    other = {**entry, "params": {**entry["params"], "sha256": "0" * 64}}
    refused(boundary.check_trust, [other], boundary.trusted_by(own), "run.json")
    with pytest.raises((UserError, AttributeError, TypeError)):  # gensim's, once the pickle was executed
        create.extractor(entry, Machine(device="cpu")).load_state({})
    assert mark.exists()  # so the pickle above would have been executed


# Names and paths --------------------------------------------------------------------------------------------------------


@pytest.mark.mended("a modality named with `../` wrote outside of the folder; `/` and `→` were stack traces")
@pytest.mark.parametrize("name", ["../../x", "a/b", "a→b", "x" * 41, "", ".", "a..b", "labels", "a\nb", "-a"])
def test_modalities_are_names(name, tmp_path):
    entry = {"id": "own", "extractor": "ready", "modality": name}
    features = {"datasets": [{"id": "d", "dataset": "precomputed", "params": {"features": {name: "x.npy"}}}]}
    experiment = {"experiments": [{"id": "e", "data": ["d"], "inputs": [["own"]], "methods": ["random"]}]}
    for value in (
        {"features": [entry], "datasets": [{"id": "d", "dataset": "precomputed"}]},
        {**features, "features": [{**entry, "modality": "image"}]},
    ):
        with pytest.raises(UserError, match="modality"):
            config.validate(value | experiment)
    table = pd.DataFrame({"id": ["a"], name: ["b"], "labels": [["c"]]})
    table.attrs = {"kinds": {name: "text"}}
    table.to_parquet(tmp_path / "items.parquet")
    refused(Items.read, tmp_path / "items.parquet")


@pytest.mark.parametrize("path", ["../../private", "/etc/passwd", "runs/../../x", "results/../x", "", 3, None, "a\0b"])
def test_records_name_paths_within_the_tree(tree, path, tmp_path):
    refused(boundary.named, tree, path)
    changed(tree / "experiments/main-aaaaaa.json", lambda index: index.update(runs=[path]))
    refused(load, tree)
    refused(prune, tree, [])


def test_links_out_of_the_tree_are_not_followed(tree, tmp_path):
    secret = tmp_path / "private"
    secret.mkdir()
    embeddings = tree / RUN / "embeddings" / "image.h5"
    embeddings.rename(secret / "image.h5")
    embeddings.symlink_to(secret / "image.h5")
    assert "a link that leaves" in refused(build, tree, tmp_path / "page")
    assert any("a link that leaves" in refused(search.find(tree / RUN).embeddings, ["image"]) for _ in [0])
    assert search.find(tree / RUN, (str(secret),)).embeddings(["image"])["image"].ids.size
    embeddings.unlink()
    embeddings.symlink_to("moved.h5")
    (secret / "image.h5").rename(embeddings.with_name("moved.h5"))
    assert search.find(tree / RUN).embeddings(["image"])["image"].ids.size


@pytest.mark.mended(
    "`cmr report` put pictures from anywhere on the reader's disk into the page of a stranger's results"
)
@pytest.mark.parametrize("how", ["relative", "absolute", "link"])
def test_pictures_of_elsewhere_are_not_shown(tree, tmp_path, how, caplog):
    private = tmp_path / "private"
    private.mkdir()
    Image.new("RGB", (20, 20), "red").save(private / "secret.png")
    folder = tree / "data" / "shapes"
    names = {"relative": "../../../../private/secret.png", "absolute": str(private / "secret.png"), "link": "link.png"}
    (folder / "link.png").symlink_to(private / "secret.png")
    items = Items.read(folder / "items.parquet")
    items.table["image"] = names[how]
    items.write(folder / "items.parquet")
    shown = build(tree, tmp_path / "page").read_text()
    assert thumbnail(private / "secret.png") not in shown
    catalogue = Catalogue(items, folder, tree)
    assert catalogue.thumbnail(names[how]) is None
    assert caplog.records
    assert Catalogue(items, folder, tree, (str(private),)).thumbnail(names[how])  # where the user says so


@pytest.mark.mended("`cmr prune --yes` deleted through symbolic links what another project keeps")
def test_prune_removes_links_and_nothing_behind_them(tree, tmp_path):
    others = tmp_path / "others"
    (others / "notes").mkdir(parents=True)
    (others / "notes" / "mine.txt").write_text("keep")
    (tree / "features" / "gone").mkdir(parents=True)
    links = [tree / "features" / "shapes", tree / "features" / "gone" / "x", tree / "codes"]
    for link in links:
        link.symlink_to(others, target_is_directory=True)
    (tree / "weights").mkdir()
    (tree / "weights" / "w.json").symlink_to(others / "notes" / "mine.txt")
    found = {item.path.relative_to(tree).as_posix() for item in prune(tree, [], remove=True).found}
    assert {"features/gone", "weights/w.json"} <= found
    assert (others / "notes" / "mine.txt").read_text() == "keep"
    assert not (tree / "weights" / "w.json").is_symlink()
    assert (tree / "codes").is_symlink()


@pytest.mark.mended("`cmr prune` read indices and records behind links that leave the results")
@pytest.mark.parametrize("name", ["experiments", f"{RUN}/run.json"])
def test_prune_reads_nothing_behind_links(tree, tmp_path, name):
    (tree / name).rename(tmp_path / "elsewhere")
    (tree / name).symlink_to(tmp_path / "elsewhere")
    assert "a link that leaves" in refused(prune, tree, [])
    assert prune(tree, [], folders=(str(tmp_path),)).kept_for  # where the user says so


def test_a_pipe_among_the_plans_of_interrupted_runs_is_not_waited_for(tree):
    (tree.parent / job.FOLDER).mkdir(parents=True)
    os.mkfifo(tree.parent / job.FOLDER / "x.json")
    assert "x.json" not in " ".join(prune(tree, []).kept_for)


def test_prune_sees_a_run_under_every_name_of_the_folder(tree, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "results").symlink_to(tree, target_is_directory=True)
    with boundary.in_use(tmp_path / "project" / "results"):
        for name in (tree, tmp_path / "project" / "results"):
            assert "a run is going on" in refused(prune, name, [], True)
    prune(tree, [], True)


def test_a_run_is_seen_over_nfs_where_an_exclusive_lock_takes_a_file_open_for_writing(tree, monkeypatch):
    flock = fcntl.flock

    def over_nfs(file, operation):
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", over_nfs)
    with boundary.in_use(tree):
        assert boundary.is_in_use(tree)
    assert not boundary.is_in_use(tree)


# Arrays -----------------------------------------------------------------------------------------------------------------


def external(file, secret):
    file.create_dataset("features", (3, 2), np.float32, external=[(str(secret), 0, 24)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((3, 2), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "x", (3, 2))
    file.create_virtual_dataset("features", layout)


def link(file, secret):
    file["features"] = h5py.ExternalLink(str(secret), "x")


def unwritten(file, secret):
    file.create_dataset("features", (4000, 20), np.float32, chunks=(100, 20))[:2000] = 1


def huge(file, secret):
    file.create_dataset("features", (10_000_000, 2000), np.float32, chunks=(100, 2000))


def bomb(file, secret):
    data = file.create_dataset(
        "features", (150, 2**12), np.float32, chunks=(50, 2**12), compression="gzip", shuffle=True
    )
    data[:] = 0


@pytest.mark.mended("HDF5 files were read that name other files, hold chunks never written, or claim 80 GB in 6 kB")
@pytest.mark.parametrize("make", [external, virtual, link, unwritten, huge, bomb], ids=lambda make: make.__name__)
def test_arrays_lie_whole_in_their_own_file(make, tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = np.ones((3, 2), np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file, tmp_path / "secret.h5")
        file["ids"] = np.array(["a", "b", "c"], object)
    refused(read_array, tmp_path / "x.h5", "features")
    refused(read_matrix, tmp_path / "x.h5", "features")


def test_what_is_written_here_is_read_again(tmp_path):
    for n in (0, 1, 5000):
        ids = np.array([f"i{row}" for row in range(n)])
        rows = Rows(ids, np.zeros((n, 3), np.float32))
        write_groups(tmp_path / "x.h5", "features", {"/": rows}, {}, {"s": np.array(["a"])})
        assert read_matrix(tmp_path / "x.h5", "features").values.shape == (n, 3)


def test_compressed_matrices_within_measure(tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    monkeypatch.setattr(matlab, "UNPACKED_FREELY", 2**20)
    zeros = np.zeros((150, 2**12))
    scipy.io.savemat(tmp_path / "x.mat", {"x": zeros}, do_compression=True)
    assert "times as many" in refused(read_array, tmp_path / "x.mat", "x")
    np.savez_compressed(tmp_path / "x.npz", x=zeros)
    assert "times as many" in refused(read_array, tmp_path / "x.npz", "x")
    scipy.io.savemat(tmp_path / "y.mat", {"x": zeros[:, :500]}, do_compression=True)
    assert read_array(tmp_path / "y.mat", "x").shape == (150, 500)


@pytest.mark.mended("a zip file of 1.5 MB unpacked to 1.5 GB")
def test_archives_within_measure(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(2**22))
    downloads.unpack(tmp_path / "x.zip", tmp_path / "fine")
    monkeypatch.setattr(downloads, "ARCHIVE_UNPACKED_FREELY", 2**20)
    assert "refused" in refused(downloads.unpack, tmp_path / "x.zip", tmp_path / "out")
    assert "refused" in refused(downloads.extract_member, tmp_path / "x.zip", "zeros", tmp_path / "zeros")
    assert not (tmp_path / "out").exists()


@pytest.mark.mended("a compressed tar file of millions of empty members was unpacked")
def test_members_take_room_however_small_they_are(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
        for number in range(300):
            file.addfile(tarfile.TarInfo(f"{number}.txt"))
    monkeypatch.setattr(downloads, "ARCHIVE_UNPACKED_FREELY", 2**20)
    monkeypatch.setattr(downloads, "MAX_RATIO", 1)
    assert "refused" in refused(downloads.unpack, tmp_path / "x.tar.gz", tmp_path / "out")
    monkeypatch.setattr(downloads, "ARCHIVE_UNPACKED_FREELY", 2**21)
    downloads.unpack(tmp_path / "x.tar.gz", tmp_path / "out")


@pytest.mark.mended("a compressed tar file with a header of gigabytes took as much memory")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_of_members_are_small(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, 2**22
        file.addfile(member, io.BytesIO(bytes(2**22)))
    assert "a header of 4,194,304 bytes" in refused(downloads.unpack, tmp_path / "x.tar.gz", tmp_path / "out")


@pytest.mark.mended("tensors and sparse matrices of a few bytes that stand for terabytes were written out")
def test_arrays_of_few_bytes_are_not_written_out_beyond_the_memory(tmp_path):
    one = torch.zeros(1)
    torch.save(one.expand(10**7, 10**7), tmp_path / "wide.pt")
    torch.save([one.expand(10**12)] * 4, tmp_path / "list.pt")
    sparse = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (10**7, 10**7), check_invariants=True)
    torch.save(sparse, tmp_path / "sparse.pt")
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.csr_array((10**7, 10**7)))
    for name in ("wide.pt", "list.pt", "sparse.pt", "sparse.npz"):
        assert "this machine has" in refused(read_array, tmp_path / name)
    scipy.sparse.save_npz(tmp_path / "small.npz", scipy.sparse.csr_array((10, 10)))
    assert read_array(tmp_path / "small.npz").shape == (10, 10)


@pytest.mark.mended("a file of weights was unpacked whatever its size, and a pipe in a model's folder waited for")
def test_weights_within_measure(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(2**19)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as source, zipfile.ZipFile(tmp_path / "x.pt", "w", 8) as packed:
        for member in source.infolist():
            packed.writestr(member.filename, source.read(member))
    assert read_weights(tmp_path / "x.pt")["a"].shape == (2**19,)
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    assert "times as many" in refused(read_weights, tmp_path / "x.pt")
    assert read_weights(tmp_path / "plain.pt")["a"].shape == (2**19,)
    os.mkfifo(tmp_path / "model.safetensors")
    refused(read_weights, tmp_path / "model.safetensors")
    refused(concatenated_hash, [tmp_path / "model.safetensors"])


# Plain files, values, pictures ----------------------------------------------------------------------------------------


@pytest.mark.mended("a named pipe in the place of a file was waited for without end")
def test_pipes_and_devices_are_no_files(tmp_path):
    pipe = tmp_path / "x.npy"
    os.mkfifo(pipe)
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for file in (pipe, tmp_path / "zero.npy"):
        for read in (file_hash, read_json, open_hdf5(file).__enter__, lambda f: read_array(f), Items.read, config.read):
            refused(read) if read.__name__ == "__enter__" else refused(read, file)
        with pytest.raises(BadContent):
            read_rgb(file)
        assert Hashes(tmp_path / "cache").of_all([file]) == [""]


@pytest.mark.mended(
    "Infinity, NaN or true as a figure was shown by `cmr summary`, or was a stack trace of `cmr report`"
)
@pytest.mark.parametrize("value", ["1e999", "NaN", "-Infinity", "true", '"0.5"', "null", "[1]", "9" * 5000])
def test_figures_are_finite_numbers(tree, value, tmp_path):
    file = tree / RUN / "metrics.json"
    text = file.read_text()
    start = text.index('"value": ') + len('"value": ')
    file.write_text(text[:start] + value + text[text.index(",", start) :])
    refused(lambda: load(tree).rows())
    refused(build, tree, tmp_path / "page")
    _, findings = verify(tree, Machine(device="cpu"))
    assert ("damaged", str(file)) in [(finding.kind, finding.path) for finding in findings]


@pytest.mark.mended("a picture that is EPS inside started Ghostscript")
def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    Image.new("RGB", (9, 9)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "holiday.jpg")
    with pytest.raises(BadContent):
        read_rgb(tmp_path / "holiday.jpg")
    assert not (tmp_path / "started").exists()


PEAK = """
import resource, sys
from pathlib import Path
from cmr.pictures import read_rgb
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read_rgb(Path(sys.argv[1])).size)
except Exception as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def peak(file):
    """What is said of a picture, and the MB that decoding it takes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, file], capture_output=True, text=True, env=environment, check=True
    )
    said, megabytes = done.stdout.splitlines()[-2:]
    return said, float(megabytes)


@pytest.mark.mended("a PNG of 21 kB took 2.4 GB")
@pytest.mark.long
def test_pictures_within_a_budget(tmp_path):
    Image.new("RGB", (13300, 13300)).save(tmp_path / "bomb.png")
    said, megabytes = peak(tmp_path / "bomb.png")
    assert "more than 120,000,000" in said
    assert megabytes < 50
    Image.new("RGB", (11000, 9000), "blue").save(tmp_path / "large.jpg")
    Image.new("RGBA", (11000, 9000), (0, 0, 255, 255)).save(tmp_path / "large.png")
    for name in ("large.jpg", "large.png"):
        said, megabytes = peak(tmp_path / name)
        assert said == "(5500, 4500)"
        assert megabytes < 700


def test_a_large_picture_is_halved(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (31, 40, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    whole = np.asarray(read_rgb(tmp_path / "x.png"), float)
    monkeypatch.setattr("cmr.pictures.LARGE", 100)
    half = np.asarray(read_rgb(tmp_path / "x.png"), float)
    literal = [[whole[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(0, 1)) for x in range(20)] for y in range(16)]
    assert np.abs(half - np.array(literal)).max() <= 1


# Sets, rows and folders ------------------------------------------------------------------------------------------------


def offsets(folder, suffix, ends):
    """Six vectors of sets, and where each begins, as somebody's file has them; whether it is read."""
    file = folder / f"x{suffix}"
    values = np.arange(6, dtype=np.float32).reshape(6, 1)
    if suffix == ".npz":
        np.savez(file, features=values, offsets=ends)
    else:
        with h5py.File(file, "w") as opened:
            opened["features"], opened["offsets"] = values, ends
    return read_offsets(file, "features")


@pytest.mark.mended("where the sets of a file begin could lie outside of it, in numbers that wrap around")
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("outside", [[7, 2], [-1, 2], [2**63 - 1, -(2**63)], [2**63 + 5, 2]])
def test_sets_lie_within_their_file(tmp_path, suffix, outside):
    kind = np.uint64 if max(outside) >= 2**63 else np.int64
    assert offsets(tmp_path, suffix, np.array([0, *outside, 6], kind)) is None
    good = offsets(tmp_path, suffix, np.array([0, 1, 4, 6], kind))
    assert good.dtype == np.int64
    assert good.tolist() == [0, 1, 4, 6]


@pytest.mark.mended("where the sets of a features file begin could wrap around, and still rise")
def test_sets_of_results_lie_within_their_file(tmp_path):
    ends = np.array([0, 2**63 - 1, -(2**63), -1, 6])
    assert (np.diff(ends) > 0).all()
    values = Sets(np.ones((6, 1), np.float32), np.array([0, 1, 2, 4]), np.array([1, 1, 2, 2]))
    write_matrix(tmp_path / "x.h5", "features", np.array(list("abcd")), values, {})
    assert len(read_rows(tmp_path / "x.h5", "features").ids) == 4
    with h5py.File(tmp_path / "x.h5", "r+") as opened:
        opened["offsets"][()] = ends
    assert "do not rise from 0 to 6" in refused(read_rows, tmp_path / "x.h5", "features")


@pytest.mark.mended("infinity as the row of a caption's picture was a stack trace")
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.5])
def test_rows_are_whole_numbers(tmp_path, value):
    for name, rows in (("a", np.eye(2)), ("b", np.eye(4)[:, :2]), ("owner", np.array([0, 0, 1, value]))):
        np.save(tmp_path / f"{name}.npy", rows)
    files = [tmp_path / f"{name}.npy" for name in ("a", "b", "owner")]
    assert "is no row number" in refused(measure.recall_of_files, *files)


@pytest.mark.mended(
    "a caption or a class in somebody's folder that is a link brought any text of the user's into results"
)
@pytest.mark.parametrize("suffix", [".txt", ".json", ".cls"])
def test_texts_beside_pictures_are_no_links_out(tmp_path, suffix):
    theirs, secret, disk = (tmp_path / name for name in ("theirs", "secret", "disk"))
    for folder in (theirs / "a", secret, disk):
        folder.mkdir(parents=True)
    text = '{"caption": "mine"}'
    (secret / f"x{suffix}").write_text(text)
    (disk / f"x{suffix}").write_text(text)
    (theirs / f"shared{suffix}").write_text(text)
    for folder in (disk, theirs / "a"):
        Image.new("RGB", (3, 2)).save(folder / "x.png")
    beside = theirs / "a" / f"x{suffix}"
    beside.symlink_to(secret / f"x{suffix}")
    assert "a link to a text elsewhere" in refused(list, samples_below(theirs, "", []))
    beside.unlink()
    beside.symlink_to(f"../shared{suffix}")  # within the folder
    assert [sample.files[suffix] for sample in samples_below(theirs, "", [])] == [beside]
    for name in (beside, theirs / "a" / "x.png"):  # both on another disk
        name.unlink()
        name.symlink_to(disk / name.name)
    assert [sample.files[suffix] for sample in samples_below(theirs, "", [])] == [beside]


@pytest.mark.mended("a saved model whose record has no number of columns was a stack trace where it was used")
@pytest.mark.parametrize(
    "dimensions", ["x", [[]], -1.5, {}, {"image": 2, "text": "2"}, {"image": 2, "text": {"set": []}}]
)
def test_a_models_dimensions_are_numbers(tmp_path, dimensions):
    views = {"image": np.eye(8), "text": np.eye(8)[::-1]}
    cmr.fit("cca", views, components=2).save(tmp_path / "model")
    changed(next((tmp_path / "model").rglob("fit.json")), lambda record: record.update(dimensions=dimensions))
    assert "dimensions" in refused(cmr.load, tmp_path / "model")


# Configurations, tables, terminals --------------------------------------------------------------------------------------


@pytest.mark.mended("of a key that stands twice in a configuration the last was taken")
@pytest.mark.parametrize("text", ["title: a\ntitle: b\n", "experiments:\n- {id: a, id: b}\n", "x: {a: 1, b: 2, a: 3}"])
def test_no_key_twice(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    said = refused(config.read, tmp_path / "c.yaml")
    assert "c.yaml" in said
    assert "line" in said
    assert "stands twice" in said


@pytest.mark.mended("class names that are spreadsheet formulas were written into CSV as they are")
def test_no_cell_is_a_formula(tmp_path):
    frame = pd.DataFrame({"=1+1": ["@x", "-1+1/cmd", "-0.5"], "fine": [-1.5, 2, 3], "+": ["a", "=HYPERLINK()", "+3"]})
    tables.write(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_text().splitlines() == [
        "'=1+1,fine,'+",
        "'@x,-1.5,a",
        "'-1+1/cmd,2.0,'=HYPERLINK()",
        "-0.5,3.0,+3",
    ]
    assert [tables.escaped(text) for text in ("*star", "[1cm]x", "a*[b]")] == ["{}*star", "{}[1cm]x", "a*[b]"]


@pytest.mark.mended("a line break in a record became LaTeX behind a comment, or a row of the table in a terminal")
@pytest.mark.parametrize("end", ["\n", "\r", "\u2028"])
def test_no_name_is_a_line_of_its_own(tree, capsys, end):
    name = rf"x{end}ridge  0.999  0.999{end}\input{{/etc/passwd}}"

    def change(found):
        for task in found["tasks"]:
            task["metrics"]["map@all"]["params"]["normalise"] = name
            task["metrics"][name] = {**task["metrics"]["map@5"], "params": {"at": 5, "normalise": name}}

    changed(tree / RUN / "metrics.json", change)
    for more in ([], ["--latex"], ["--metric", "*"], ["--metric", "*", "--latex"]):
        cli.main(["summary", str(tree), *more])
        lines = capsys.readouterr().out.splitlines()
        assert any("input" in line for line in lines) or "*" not in more
        assert not any(line.lstrip().startswith(("ridge", r"\input")) for line in lines)
    cli.main(["compare", str(tree / RUN), str(tree / RUN)])
    assert not any(line.startswith("ridge") for line in capsys.readouterr().out.splitlines())
    assert tables.escaped(name) == r"x ridge  0.999  0.999 \textbackslash{}input\{/etc/passwd\}"


@pytest.mark.mended("marks that turn the direction of writing were obeyed by a terminal")
def test_no_mark_turns_what_a_terminal_shows(tree, capsys):
    items = Items.read(tree / "data/shapes/items.parquet")
    items.table["labels"] = [[f"{label}\u202e\u2066"] for (label, *_) in items.table["labels"]]
    items.write(tree / "data/shapes/items.parquet")
    cli.main(["compare", str(tree / RUN), str(tree / RUN)])
    said = capsys.readouterr().out
    assert r"circles\u202e\u2066" in said
    assert not {"\u202e", "\u2066"} & set(said)


@pytest.mark.mended("names of any length were taken for classes and ids, and printed whole")
def test_names_are_short(tmp_path):
    long = "x" * 100_000
    np.save(tmp_path / "y.npy", np.array([long, "b"]))
    assert "100,000 letters" in refused(measure.read_labels, tmp_path / "y.npy")
    for change in ({"id": ["a", long]}, {"labels": [["d"], [long]]}):
        table = pd.DataFrame({"id": ["a", "b"], "text": ["b", "c"], "labels": [["d"], ["d"]]} | change)
        assert "100,000 letters" in refused(Items(table, {"text": "text"}).write, tmp_path / "items.parquet")
        table.attrs = {"kinds": {"text": "text"}}
        table.to_parquet(tmp_path / "theirs.parquet")
        assert "100,000 letters" in refused(Items.read, tmp_path / "theirs.parquet")


@pytest.mark.mended("a table in parquet of 2 kB took 30 GB: one long text that stands in many cells is stored once")
@pytest.mark.parametrize("form", ["text", "list", "struct", "map", "bytes"])
def test_tables_within_measure(tmp_path, form):
    text = "word " * 100_000
    once = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1000, np.int32)), [text if form != "bytes" else text.encode()]
    )
    starts = pa.array(np.arange(1001, dtype=np.int32))
    column = {
        "list": lambda: pa.ListArray.from_arrays(starts, once),
        "struct": lambda: pa.StructArray.from_arrays([once], ["x"]),
        "map": lambda: pa.MapArray.from_arrays(starts, pa.array([str(n) for n in range(1000)]), once),
    }.get(form, lambda: once)()
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)], "x": column}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 100_000
    with pytest.raises(boundary.BoundaryError, match="would unpack to 500"):
        boundary.plain_parquet(tmp_path / "x.parquet")
    pq.write_table(pa.table({"id": ["a", "b"], "x": column[:2]}), tmp_path / "y.parquet")
    assert boundary.plain_parquet(tmp_path / "y.parquet") == tmp_path / "y.parquet"


@pytest.mark.mended("`cmr summary` was a stack trace in a terminal without the arrow")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_terminal(tree, encoding):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "PYTHONIOENCODING": encoding}
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "cmr", "summary", str(tree), *more]
        done = subprocess.run(command, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert b"map@all" in done.stdout
        if more:
            json.loads(done.stdout.decode(encoding))
        else:
            assert b"\\u2192" in done.stdout


@pytest.mark.parametrize("item", ["a\0", "a\rb", "a\n"])
def test_ids_hold_no_control_characters(item, tmp_path):
    table = pd.DataFrame({"id": ["a", item], "text": ["b", "c"], "labels": [["d"], ["d"]]})
    assert "control character" in refused(Items(table, {"text": "text"}).write, tmp_path / "items.parquet")


# Where code could come from --------------------------------------------------------------------------------------------


TEMPLATE = """__use_yte__: true
__definitions__:
  - import os
  - os.mkdir("executed")
title: x
"""


@pytest.mark.mended(
    "`snakemake --directory THEIRS` executed the code in a template of Snakemake's in their config.yaml"
)
def test_no_template_is_executed(tmp_path):
    (tmp_path / "config.yaml").write_text(TEMPLATE)
    assert "executes the code" in refused(config.read, tmp_path / "config.yaml")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "__use_yte__" in done.stdout + done.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.mended("`cmr rerun` read any file of the user's that somebody's run.json named as its data")
@pytest.mark.mended("a file whose name is not UTF-8, and half of a surrogate pair in JSON, were stack traces")
@pytest.mark.parametrize("change", ["name", "class", "caption"])
def test_what_is_no_text_is_told(change, tmp_path):
    for number in range(12):
        place = tmp_path / "p" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(place / f"{number}.png")
        (place / f"{number}.json").write_text(json.dumps({"caption": f"text {number}"}))
    if change == "name":
        for suffix in ("png", "json"):
            os.rename(place / f"11.{suffix}", os.fsencode(place) + f"/\xff.{suffix}".encode("latin-1"))
    elif change == "class":
        os.rename(place, os.fsencode(tmp_path / "p") + b"/\xff")
    else:
        (place / "11.json").write_text('{"caption": "\\ud800"}')
    data = {"datasets": [{"id": "made", "dataset": "folder", "params": {"folder": "p"}}]}
    project = Project(tmp_path, data | experiment(["sift_bovw", "bow"], "cca"))
    (prepared,) = project.results("prepare")
    said = refused(project.make, prepared)
    assert "rename the file" in said
    assert "\\ud" in said
    assert not (tmp_path / prepared.record).exists()


@pytest.mark.parametrize("name", ["../private.csv", "/etc/passwd", "a/../../private.csv"])
def test_records_name_no_file_of_the_users_elsewhere(tree, tmp_path, name):
    entry = {"id": "shapes", "dataset": "table", "params": {"file": name, "text": "text"}}
    changed(tree / RUN / "run.json", lambda run: run["fits"][0].update(data=entry))
    machine = Machine(device="cpu", base="home")
    assert "is not read" in refused(rerun.rerun, search.find(tree / RUN), tmp_path / "new", machine)
    assert not (tmp_path / "new").exists()
    named = boundary.files_named_by({"datasets": [entry], "features": ["bow", {"id": "x", "params": None}]})
    assert name in named
    recorded.check(search.find(tree / RUN).record, Machine(base="home", named=named), "run.json")


def test_a_plan_of_somebody_else_is_not_taken_for_ones_own(tmp_path, monkeypatch):
    """It would have the name that one's own plan has, and come along with somebody's folder `.snakemake`."""
    monkeypatch.chdir(tmp_path)
    experiment = {"id": "e", "data": ["openmoji"], "inputs": [["bow"]], "methods": ["random"]}
    checked = config.validate({"experiments": [experiment]})
    file = job.write(checked, Machine(), "results/report")
    own = Path(file).read_text()
    changed(Path(file), lambda plan: plan["config"].update(features=[pickled(tmp_path)[0]]))
    assert job.write(checked, Machine(), "results/report") == file
    assert Path(file).read_text() == own


@pytest.mark.mended("a command that was typed in somebody's folder imported the modules that lay there")
@pytest.mark.parametrize("module", ["yaml", "numpy", "argparse"])
def test_no_module_comes_from_the_folder_that_one_stands_in(tree, module):
    (tree / f"{module}.py").write_text("open('executed', 'w')\nraise SystemExit('theirs')\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-m", "cmr", "summary", "."], cwd=tree, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not (tree / "executed").exists()


def test_code_in_a_models_folder_is_not_executed(tmp_path):
    """The libraries would ask on the terminal whether it may be, or take the answer from a setting."""
    folder = tmp_path / "model"
    folder.mkdir()
    told = {
        "model_type": "theirs",
        "auto_map": dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "theirs.Theirs"),
    }
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Theirs: pass\n")
    (folder / "model.safetensors").write_bytes(b"")
    entry = {"id": "bert", "extractor": "bert", "modality": "text", "params": {"model": str(folder)}}
    with pytest.raises(Exception, match=r"trust_remote_code|custom code|not.*recogni[sz]e|model_type"):
        create.extractor(entry, Machine(device="cpu")).transform(["a"])
    assert not (tmp_path / "executed").exists()


@pytest.mark.mended("a damaged history of a fit was a stack trace of the report")
def test_a_history_that_is_none_is_said(tree, tmp_path):
    file = tree / RUN.replace("runs", "fits", 1) / "history.csv"
    file.write_bytes(b"epoch,loss\n0,\xff\n")
    assert f"{file}: not the history of a fit" in refused(build, tree, tmp_path / "page")


@pytest.mark.parametrize("content", [b"epoch,loss\n0,1,2\n1\n", b"", b"epoch\nx\n\n"])
def test_a_history_of_odd_lines_is_shown(tree, tmp_path, content):
    (tree / RUN.replace("runs", "fits", 1) / "history.csv").write_bytes(content)
    assert build(tree, tmp_path / "page").exists()


@pytest.mark.parametrize(
    "error", [StopIteration(), AssertionError("x"), RuntimeError("y\nz"), KeyError("w"), MemoryError()]
)
def test_whatever_files_that_do_not_fit_together_raise_is_one_line(error):
    with (
        pytest.raises(UserError, match=r"^results: its files do not fit together") as raised,
        boundary.reading("results"),
    ):
        raise error
    assert "\n" not in str(raised.value)
    assert "the last one read" not in str(raised.value)


def test_the_file_that_was_read_last_is_named(tree):
    """It is where files that do not fit together were met, as near as is known."""
    read_json(tree / "experiments/main-aaaaaa.json")
    with (
        pytest.raises(UserError, match=r"fit together \(the last one read: .*/metrics\.json\): .* KeyError: 'x'$"),
        boundary.reading("results"),
    ):
        read_json(tree / RUN / "metrics.json")["x"]


@pytest.mark.parametrize("error", [UserError("my.csv: row 3"), FileNotFoundError(2, "gone", "a.csv")])
def test_what_says_what_is_wrong_stays(error):
    with pytest.raises(type(error)) as raised, boundary.reading("results"):
        raise error
    assert raised.value is error


def test_a_message_is_of_a_length_that_can_be_read():
    told = str(UserError(f"results/fits{'[' * 1_000_000}: no such file"))
    assert len(told) < 6000
    assert told.startswith("results/fits[[")
    assert told.endswith("[: no such file")


def test_a_name_that_no_file_can_have_is_told_in_short(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["verify", f"{tmp_path}/{'[' * 100_000}"])
    assert len(capsys.readouterr().err) < 6000
