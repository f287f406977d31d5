"""What is measured of pictures: one file a metric, each a pure function that gives one value a picture."""
