"""Read raw data: MNIST, CIFAR-10, published folders, archives and image files."""
