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
    slurm(
        "sinfo",
        """case "$*" in *--all*) echo 'cpu*|4:00:00|(null)'; echo 'gpu|1-06:00:00|gpu:a100:4(S:0-1),tmp:9'
echo 'hidden|infinite|gpu:2';; esac""",
    )
    slurm(
        "sacctmgr",
        """case "$*" in
*associations*) echo 'lab||high,normal,Long'; echo 'lab||short'; echo 'Other|3|';;
*qos*) echo 'normal|'; echo 'Long|5'; echo 'high|100';;
esac""",
    )
    return slurm


def refused(site, *more):
    with pytest.raises(UserError) as caught:
        cluster.preflight(site, "site.yaml", *more)
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


def test_several_partitions_and_hidden_ones(working):
    site = Site(account="lab", partition="cpu, hidden", gpu_partition="hidden")
    cluster.preflight(site, "site.yaml")
    assert site.resources(0)["slurm_partition"] == "cpu,hidden"
    assert "partition: the cluster has no partition 'gpus'" in refused(Site(account="lab", partition="cpu,gpus"))


def test_a_gpu_job_where_there_is_no_such_gpu(working):
    cluster.preflight(Site(account="lab", partition="cpu"), "site.yaml")
    for gres in (None, "gpu:1", "gpu:a100:2", "gpu:a100"):
        cluster.preflight(Site(account="lab", gpu_partition="cpu,gpu", gres=gres), "site.yaml", None, True)
    found = refused(Site(account="lab", partition="cpu"), None, True)
    assert "site.yaml: gpu_partition: no node of partition cpu has a GPU (sinfo lists them in: gpu, hidden)" in found
    assert "no node of partition cpu has a GPU" in refused(Site(account="lab"), None, True)  # the default one
    found = refused(Site(account="lab", gpu_partition="gpu", gres="gpu:v100:1"), None, True)
    assert found == "site.yaml: gres: no node of partition gpu has gpu:v100; there is gpu:a100:4, tmp:9"


def test_more_jobs_than_the_account_may_have_in_the_queue(working):
    cluster.preflight(Site(account="other"), "site.yaml", 3)
    cluster.preflight(Site(account="lab"), "site.yaml", 50)
    assert refused(Site(account="other"), 50) == "account other lets you have 3 jobs in the queue; type --jobs 3"


def test_a_quality_of_service_that_the_account_has_not(working):
    cluster.preflight(Site(account="lab", qos="normal", gpu_qos="high", gpu_partition="gpu"), "site.yaml", 50, True)
    cluster.preflight(Site(account="other", qos="any"), "site.yaml")  # it has no list
    cluster.preflight(Site(account="lab", qos="short", gpu_qos="none of it"), "site.yaml")  # no job needs a GPU
    found = refused(Site(account="lab", qos="norma"))
    assert found == "site.yaml: qos: account lab has no quality of service 'norma'; did you mean 'normal'?"
    assert "site.yaml: gpu_qos: account lab has no" in refused(Site(account="lab", gpu_qos="gpu"), None, True)


def test_more_jobs_than_a_quality_of_service_takes(working):
    cluster.preflight(Site(account="lab", qos="LONG"), "site.yaml", 5)
    cluster.preflight(Site(account="lab", gpu_qos="long"), "site.yaml", 50)
    for key in ("qos", "gpu_qos"):
        found = refused(Site(account="lab", **{key: "long"}), 50, True)
        assert found == "quality of service long lets you have 5 jobs in the queue; type --jobs 5"


def test_no_job_asks_for_more_time_than_its_partition_allows(working):
    assert cluster.longest(Site(), 0) == cluster.longest(Site(), 1) == 240
    assert cluster.longest(Site(partition="gpu"), 0) == cluster.longest(Site(partition="hidden"), 0) == 1440
    assert cluster.longest(Site(gpu_partition="gpu"), 1) == 1440
    assert cluster.longest(Site(partition="gpu,cpu"), 0) == 240
    working("sinfo", "echo 'cpu*|30:00|(null)'")
    assert cluster.longest(Site(), 0) == 30
    working("sinfo", "exit 1")
    assert cluster.longest(Site(), 0) == 1440


def test_a_controller_that_forgets_ended_jobs_too_soon(slurm):
    slurm("scontrol", "echo 'Boot = 1'; echo 'MinJobAge               = 60 sec'; echo 'Other = 2'")
    assert cluster.remembered() == 60
    slurm("scontrol", "echo 'MinJobAge               = 5 sec'")
    with pytest.raises(UserError, match="forgets an ended job after 5 seconds"):
        cluster.remembered()


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
    assert Site(account="none", qos="long").resources(1) == {"gpu": 1, "qos": "long"}
    assert Site(account="none", qos="long", gpu_qos="a100").resources(1) == {"gpu": 1, "qos": "a100"}
    assert Site(account="none", gpu_qos="a100").resources(0) == {"gpu": 0}
    assert Site(account="none", gres="gpu:a100:1").resources(1) == {"gres": "gpu:a100:1"}
    assert Site(account="none", gres="gpu:a100:1").resources(0) == {"gpu": 0}


def test_mistakes_in_the_sites_file(tmp_path):
    file = tmp_path / "site.yaml"
    assert cluster.load(file) == Site()
    file.write_text("acount: lab\n")
    with pytest.raises(UserError, match=r"acount: unknown key; did you mean 'account'\?"):
        cluster.load(file)
    for text, told in {
        "account: [lab]": r"account: .*string",
        "account: 123": "account: YAML takes the value for 123; write it in quotes",
        "environment: {HDF5_USE_FILE_LOCKING: FALSE}": "HDF5_USE_FILE_LOCKING: YAML takes the value for False; write it",
        "gres: gpu=1": "gres: write gpu:1, or gpu:a100:1 for a model; found 'gpu=1'",
        "account:lab": "site.yaml: holds no keys; .* a space after the colon",
        "- lab": "site.yaml: holds no keys",
        "a: b: c": "site.yaml: cannot be read",
    }.items():
        file.write_text(f"{text}\n")
        with pytest.raises(UserError, match=told):
            cluster.load(file)


def test_the_sites_file_as_it_comes_is_read(pytestconfig):
    site = cluster.load(pytestconfig.rootpath / "slurm" / "site.yaml")
    assert site.account is None
    assert site.environment["HDF5_USE_FILE_LOCKING"] == "BEST_EFFORT"
