"""The explaining model: a denoising beta-VAE with a spatial latent and a linear head per cell.

In: films (float arrays), a bundle opened by `processors.runtime`. Out: an Analysis, through
`processors.vae.processor.VaeBundleProcessor`. `normalise`, `latent`, `population` and `processor`
are the CPU path and know numpy alone; `network`, `losses`, `corruption`, `device` and
`bundle_network` need torch and are imported by training, by a GPU, or by MONAI.
Never: a file of a study, a database, a report. This door imports nothing, so that naming the room
never loads torch.
"""
