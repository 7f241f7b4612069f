"""Network definitions in torch."""

import os

# oneDNN's AVX-512 kernels overwrite memory in the backward pass of narrow convolutions (torch 2.13.0),
# and which kernels a processor has would decide the weights; read by oneDNN when the first of its kernels is made
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
