"""Figures, drawn without a display; matplotlib is imported when one is asked for."""
