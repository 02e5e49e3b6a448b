"""Experiments that say what the method is worth; nothing here is needed to train or to serve.

Each is one function that returns figures (or, for the eye, one picture): `erased`, what the
denoising decoder knows of what was hidden; `methods`, ways of making "less" of a finding beside
each other; `sheet`, what a reader would see. In: an opened bundle and labelled images.
Never: a choice made by what is measured here; anything written into a bundle.
"""
