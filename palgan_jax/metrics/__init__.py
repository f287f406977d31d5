"""Metrics of pictures: one file each.

Each is a pure function of arrays that gives one value a picture, (B,), so that it is the same however the batch lies
on devices. The values of a whole set are kept (a number a picture and metric), and `confidence` computes the interval
of their mean. The Fréchet distance is one number a set: `frechet` accumulates its moments and merges those of parts.

Unless a docstring says otherwise, pictures are sRGB (B, H, W, 3) in [0, 255], of any type. Networks take [-1, 1].
"""
