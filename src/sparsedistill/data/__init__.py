"""Texts and labels: files of many formats, their labels, and what a run takes of them."""
