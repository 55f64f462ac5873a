"""The tests run on the CPU, also where there is a GPU: there, two trainings need not agree to the bit."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before PyTorch looks
