"""Teachers: the slow, accurate classifiers that a student learns from."""
