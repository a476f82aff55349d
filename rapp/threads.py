"""A forked process computes on one thread: OpenMP's others, which torch's sums wait for, did not survive the fork.

A service that has scored once and then forks its workers (gunicorn --preload, ``multiprocessing`` on Linux, joblib's
"multiprocessing") would otherwise wait for good at its first product of matrices. One thread starts no others, so it
works whatever the parent has done; sums differ in their last digits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_PROCESS = os.getpid()  # of the process that imported this; one forked later has another


def allowed(threads: int) -> int:
    """How many threads to use: ``threads``, or 1 in a process that was forked since rapp was imported."""
    return threads if os.getpid() == _PROCESS else 1


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Compute on this many threads inside the block: the last digits of sums depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(allowed(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_if_forked() -> Iterator[None]:
    """Compute on one thread inside the block if this process was forked; else change nothing."""
    with pinned(torch.get_num_threads()):
        yield
