import pytest
import torch

from cmr import device
from cmr.errors import UserError


def test_cpu_is_taken_as_it_is():
    assert device.resolve("cpu") == "cpu"


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_follows_the_machine(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert device.resolve("auto") == expected


@pytest.mark.parametrize(
    ("built_for", "visible", "reason"),
    [(None, None, "without CUDA"), ("13.0", "", "CUDA_VISIBLE_DEVICES"), ("13.0", "0", "no GPU")],
)
def test_cuda_that_is_not_there_is_refused_with_the_reason(monkeypatch, built_for, visible, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=reason):
        device.resolve("cuda")


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        device.set_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
