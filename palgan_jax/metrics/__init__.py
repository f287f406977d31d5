"""What is measured of pictures: one file a metric.

Each is a pure function of arrays that gives one value a picture, (B,), so that it is the same however the batch lies
on devices; the values of a whole set are kept (a number a picture and metric), and `confidence` gives their mean's
interval. The Fréchet distance is one number a set: `frechet` has what is accumulated of it, and how two parts merge.

Where nothing else is said, pictures are sRGB (B, H, W, 3) in [0, 255], of any type. Networks take [-1, 1].
"""
