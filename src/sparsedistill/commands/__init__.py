"""The commands of the command line, a file each: ``add`` says what a command takes, ``work`` does it."""
