"""Random streams: each piece of work has a generator of its own, which its name and seed give.

So results depend neither on the order of the work nor on the number of threads that do it, and
training and validation never share a draw.
"""

import hashlib

import torch

TRAINING = "noisy_noisy"  # the crops or scenes of the training pairs, and the noise of both copies
VALIDATION = "noisy_clean"  # the scenes of the validation images, and their noise
SPLIT = "split"  # which photos are held out


def generator(seed: int, stream: str, *part: int) -> torch.Generator:
    """The generator of one piece of work.

    Args:
        seed: The seed that the user chose.
        stream: One of the names above.
        part: The number of the piece of work, where the stream has several.

    Returns:
        A generator on the CPU, the same for the same arguments.
    """
    key = repr((seed, stream, *part)).encode()
    digest = hashlib.sha256(key).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
