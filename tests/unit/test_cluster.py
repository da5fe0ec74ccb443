"""What is said before the first job is sent to SLURM, with stand-ins for SLURM's commands."""

import os

import pytest

from cmr import cluster
from cmr.cluster import Site
from cmr.errors import UserError


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """SLURM's commands as scripts that print what the test wants; none is there at first."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def place(command, script):
        (tmp_path / command).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / command).chmod(0o755)

    return place


@pytest.fixture
def working(slurm):
    slurm("sbatch", "exit 0")
    slurm("sinfo", "echo cpu; echo gpu")
    slurm("sacctmgr", "echo lab; echo Other")
    return slurm


def refused(site):
    with pytest.raises(UserError) as caught:
        cluster.preflight(site, "site.yaml")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_what_is_right_passes(working):
    cluster.preflight(Site(account="other", partition="cpu", gpu_partition="gpu"), "site.yaml")
    cluster.preflight(Site(account="none"), "site.yaml")


def test_without_sbatch(slurm):
    assert "no sbatch" in refused(Site(account="lab"))


def test_without_an_account_yours_are_named(working):
    assert refused(Site()) == "site.yaml: account: name the one that the jobs are charged to (yours: lab, other)"


def test_an_account_or_a_partition_that_is_not_there(working):
    assert "'labb' is not one of yours; did you mean 'lab'?" in refused(Site(account="labb"))
    found = refused(Site(account="lab", partition="cpu", gpu_partition="gpus"))
    assert found == "site.yaml: gpu_partition: the cluster has no partition 'gpus'; did you mean 'gpu'?"


def test_where_accounts_are_not_told_any_is_taken(working):
    working("sacctmgr", "echo no database >&2; exit 1")
    cluster.preflight(Site(account="whatever"), "site.yaml")
    assert "or 'none', where the cluster has no accounts" in refused(Site())


def test_a_controller_that_does_not_answer(working):
    working("sinfo", "echo first >&2; echo 'slurm_load_partitions: unable to contact' >&2; exit 1")
    assert "SLURM does not answer: slurm_load_partitions: unable to contact" in refused(Site(account="lab"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="cannot write there"):
        cluster.check_writable(tmp_path / "results")


def test_a_folder_that_is_to_be_made(tmp_path):
    cluster.check_writable(tmp_path / "results" / "deeper")


def test_partition_and_gpu_of_a_job():
    site = Site(account="lab", partition="cpu", gpu_partition="gpu")
    assert site.resources(0) == {"slurm_partition": "cpu", "slurm_account": "lab", "gpu": 0}
    assert site.resources(1) == {"slurm_partition": "gpu", "slurm_account": "lab", "gpu": 1}
    assert Site(account="none").resources(1) == {"gpu": 1}
    assert Site(account="none", gres="gpu:a100:1").resources(1) == {"gres": "gpu:a100:1"}
    assert Site(account="none", gres="gpu:a100:1").resources(0) == {"gpu": 0}


def test_mistakes_in_the_sites_file(tmp_path):
    file = tmp_path / "site.yaml"
    assert cluster.load(file) == Site()
    file.write_text("acount: lab\n")
    with pytest.raises(UserError, match=r"acount: unknown key; did you mean 'account'\?"):
        cluster.load(file)
    file.write_text("account: [lab]\n")
    with pytest.raises(UserError, match=r"site.yaml: account: .*string"):
        cluster.load(file)
    file.write_text("- lab\n")
    with pytest.raises(UserError, match=r"site.yaml: cannot be read"):
        cluster.load(file)


def test_the_sites_file_as_it_comes_is_read(pytestconfig):
    site = cluster.load(pytestconfig.rootpath / "slurm" / "site.yaml")
    assert site.account is None
    assert site.environment["HDF5_USE_FILE_LOCKING"] == "BEST_EFFORT"
