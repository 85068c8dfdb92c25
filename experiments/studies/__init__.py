"""The studies, a module each: ``python -m experiments.studies.NAME --help``."""
