"""GFPGAN (Wang et al. 2021, github.com/TencentARC/GFPGAN): restores faces with a StyleGAN2 decoder that a U-Net steers."""

from models.faceswap.gfpgan.restorer import GfpganRestorer

__all__ = ["GfpganRestorer"]
