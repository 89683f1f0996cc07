"""Models of images: how a suite resolves to runs, the models, what is read out of them, and how that is shown."""
