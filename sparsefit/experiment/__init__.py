"""Collecting sweeps: data → model → trial → study → sweep."""
