"""The tests run on the CPU, also where there is a GPU: there, two trainings may differ in a bit."""

import os
import signal

# A shell that starts the tests with & has SIGINT ignored, here and in what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before PyTorch looks

import pytest  # noqa: E402
import torch  # noqa: E402

from Miniproject_1.others.datasets import build  # noqa: E402

torch.set_num_threads(1)  # the networks are tiny: more threads would mostly wait for each other


@pytest.fixture(autouse=True)
def seed():
    """The same draws in each run, and in each order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with what `data --clean` makes of scenes: 24 pairs; tests do not change it."""
    folder = tmp_path_factory.mktemp("data")
    build(folder, pairs=24, validation=4, clean=True, progress=False)
    return folder
