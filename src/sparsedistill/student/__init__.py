"""The student: its vocabulary, table, training and compression."""
