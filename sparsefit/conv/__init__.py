"""Sparse layers: weight → mask → packed → op → layer."""
