"""Every system and every study of the paper, reproduced: ``python -m experiments --help``."""
