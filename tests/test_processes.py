"""Several processes that train one network."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import ROOT, noisy_pairs, quick_model, weights_of
from torch import distributed as dist

from Miniproject_1.model import Model, Recipe
from Miniproject_1.others.study import parallel

A, B, CLEAN = noisy_pairs(50)
EXACT = {"precision": "float32", "batch": 8}


def run_all(tmp_path, count, work):
    """Do some work in so many processes; each may leave files in tmp_path. Their exit codes."""
    fork = multiprocessing.get_context("fork")
    everyone = [fork.Process(target=joined, args=(tmp_path, rank, count, work))
                for rank in range(count)]
    for process in everyone:
        process.start()
    for process in everyone:
        process.join(60)
    (tmp_path / "store").unlink(missing_ok=True)
    return [process.exitcode for process in everyone]


def joined(tmp_path, rank, count, work):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=rank,
                            world_size=count)
    work(tmp_path, rank)
    dist.barrier()  # one that ended early would look like one that is gone
    dist.destroy_process_group()


def train(tmp_path, rank, **options):
    model = quick_model(**EXACT)
    if rank > 0:  # which is no matter: all start with the weights of the first
        torch.nn.init.ones_(model.net.head.weight)
    model.train(A, B, 2, time_limit=None, progress=False,
                checkpoint=tmp_path / f"checkpoint-{rank}.pth", **options)
    model.save(tmp_path / f"{rank}.pth")


def weights(file):
    model = Model()
    model.load_pretrained_model(file)
    return weights_of(model)


def assert_close(found, expected):
    """Equal but for rounding, with which 12 steps end.

    A gradient is the sum of those of the processes, in another order than in one: it is off by
    some 6e-8 of its size. Muon brings singular values from 0.01 of the largest up to about 1, and
    so makes of it up to 6e-6 of a step; 12 steps in a row add up to 7e-5.
    """
    start = weights_of(quick_model(**EXACT))
    moved = (expected - start).norm()
    assert (found - expected).norm() < 1e-4 * moved


@pytest.mark.parametrize("count", [2, 3])
def test_they_end_with_the_weights_of_one(tmp_path, count):
    assert run_all(tmp_path, count, train) == [0] * count
    alone = quick_model(**EXACT)
    alone.train(A, B, 2, time_limit=None, progress=False)
    first, *others = (weights(tmp_path / f"{rank}.pth") for rank in range(count))
    assert all(torch.equal(first, other) for other in others)
    assert_close(first, weights_of(alone))
    written = sorted(file.name for file in tmp_path.glob("checkpoint*"))
    assert written == ["checkpoint-0.pth"]


def test_another_number_of_them_goes_on(tmp_path):
    """Two processes stop, at the wish of the second one, and three go on."""
    def stops(folder, rank):
        calls = []
        train(folder, rank, stop=lambda: rank == 1 and (calls.append(0) or len(calls) == 8))

    def goes_on(folder, rank):
        train(folder, rank, resume=tmp_path / "checkpoint-0.pth")

    assert run_all(tmp_path, 2, stops) == [0, 0]
    (tmp_path / "three").mkdir()
    assert run_all(tmp_path / "three", 3, goes_on) == [0, 0, 0]
    alone = quick_model(**EXACT)
    alone.train(A, B, 2, time_limit=None, progress=False)
    assert not torch.equal(weights(tmp_path / "0.pth"), weights(tmp_path / "three/0.pth"))
    assert_close(weights(tmp_path / "three/0.pth"), weights_of(alone))


def test_they_agree_on_the_end(tmp_path):
    """A time limit ends all at one step, though their clocks differ."""
    def hurries(folder, rank):
        model = quick_model(**EXACT)
        time.sleep(0.5 * rank)
        model.train(A, B, 10**6, time_limit=3.0, progress=False)
        model.save(folder / f"{rank}.pth")

    assert run_all(tmp_path, 2, hurries) == [0, 0]
    assert torch.equal(weights(tmp_path / "0.pth"), weights(tmp_path / "1.pth"))


def test_what_differs_or_is_too_little_is_refused_by_all(tmp_path):
    def differs(folder, rank):
        with pytest.raises(ValueError, match="differ in images;"):
            quick_model().train(A + rank / 100, B, 1, progress=False)
        with pytest.raises(ValueError, match="differ in batch, seed;"):
            quick_model(batch=4 + rank).train(A, B, 1, seed=rank, progress=False)
        with pytest.raises(ValueError, match="1 pairs are too few for 2"):
            quick_model().train(A[:1], B[:1], 1, progress=False)

    assert run_all(tmp_path, 2, differs) == [0, 0]


def test_the_loss_of_one_is_an_error_of_the_others(tmp_path):
    def vanishes(folder, rank):
        model = quick_model()
        if rank == 1:
            model.train(A, B, 10**6, progress=False, stop=lambda: os._exit(9))
        with pytest.raises(ConnectionError):
            model.train(A, B, 10**6, progress=False)
        os._exit(0)  # there is nobody to wait for

    began = time.monotonic()
    assert run_all(tmp_path, 2, vanishes) == [0, 9]
    assert time.monotonic() - began < 20


# --------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(tmp_path):
    """A training in two processes by torchrun, that would take hours."""
    pairs = torch.randint(256, (2, 200, 3, 8, 8), dtype=torch.uint8)
    torch.save(tuple(pairs), tmp_path / "pairs.pkl")
    Model(Recipe(widths=(4,), blocks=0, batch=8)).save(tmp_path / "start.pth")
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "Miniproject_1", "train", "-d", str(tmp_path / "pairs.pkl"), "--from",
            str(tmp_path / "start.pth"), "--epochs", "1000000", "-o", str(tmp_path / "model.pth")]


def started(command, folder):
    """The training, once its first epoch is done."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=ROOT, env=environment)
    for line in training.stdout:
        if line.split()[0] == "2":
            return training
    raise AssertionError(training.communicate()[1])


def workers(training):
    """The numbers of the processes that torchrun started, by their ranks."""
    found = subprocess.run(["pgrep", "-P", str(training.pid)], capture_output=True, text=True,
                           check=True)
    return sorted(map(int, found.stdout.split()))


def test_a_killed_process_ends_all_with_one_line(tmp_path, command):
    training = started(command, tmp_path)
    os.kill(workers(training)[1], signal.SIGKILL)
    out, err = training.communicate(timeout=30)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "resume" in errors[0]
    assert "training" in torch.load(tmp_path / "model.pth", weights_only=True)
    rows = [line.split()[0] for line in out.splitlines()]
    assert len(set(rows)) == len(rows)  # of the first process only


def test_the_speed_of_several_is_compared_with_one(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results.jsonl"
    rates = iter([100, 90, 200, 190, 150, 120])  # of one and of several, in turns
    monkeypatch.setattr(parallel, "rate", lambda processes, seconds: next(rates))
    assert parallel.main(["--turns", "3", "--results", str(results)]) == 0
    row = json.loads(results.read_text())
    assert (row["one"], row["several"], row["ratio"]) == (150, 120, 0.9)
    assert "| 150 |" in " ".join(capsys.readouterr().out.split())
    assert row["command"].endswith("--processes 2 --turns 3")


def test_a_worker_prints_the_speed(capsys):
    assert parallel.main(["--worker", "3"]) == 0
    assert float(capsys.readouterr().out) > 0
