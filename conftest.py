"""Tests compare bits, and two workers share two cores: every process of a test run computes on one thread."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start, and for libraries loaded later

import torch

torch.set_num_threads(1)
