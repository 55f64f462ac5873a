"""Several processes that train one network, as torchrun starts them."""

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch
from torch import distributed as dist

_stores: list["dist.Store"] = []  # what the processes share, once they are connected


@contextlib.contextmanager
def joined() -> Iterator[int]:
    """Connect this process with those that torchrun started beside it, if it did.

    On a GPU, each process gets one of its own. Of warnings, those of the first process are enough.

    Yields:
        The number of this process, from 0 up.

    Raises:
        RuntimeError: They cannot be connected.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield 0
        return
    store, rank, count = next(dist.rendezvous("env://"))
    _stores.append(store)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    if rank > 0:
        warnings.simplefilter("ignore")
    yield rank
    dist.destroy_process_group()  # not after an error, when it might wait for those that are gone


def first_to_fail() -> bool:
    """Whether no other process has asked this before, so that one of them says what went wrong."""
    try:
        return not _stores or _stores[0].add("failures", 1) == 1
    except RuntimeError:  # what they share is gone, too
        return True
