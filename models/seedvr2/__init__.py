"""SeedVR2: one-step restoration and upscaling of pictures and clips (Wang et al. 2025, ByteDance-Seed/SeedVR, Apache-2.0).

A port of the architecture: a video autoencoder (`vae.py`), a window-attention diffusion transformer (`dit.py`), one sampling
step (`sampler.py`) and colour transfer from the input (`colour.py`). Module and parameter names are those of the published
checkpoints, which load strictly (`loading.py`). `runner.py` holds the runner.
"""
