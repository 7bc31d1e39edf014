"""One file per data set; a new file with a subclass of `BiasedDataset` is found without a list."""
