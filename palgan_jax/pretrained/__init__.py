"""Published networks for losses and metrics (VGG16, AlexNet, Inception), and the files of their weights."""
