"""Scoring: how good pictures are, judged by a classifier and always beside what real ones score."""
