"""The kernels for NVIDIA's GPUs, written in Triton, which comes with PyTorch's CUDA builds.

Triton is imported where a CUDA tensor asks for it, by ``launch``; ``ready`` says whether it works.
"""
