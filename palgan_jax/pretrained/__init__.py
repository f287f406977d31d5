"""Published networks (VGG16, AlexNet, Inception) for losses and metrics, and the files of their weights."""
