"""Fronts of accuracy against latency at equal CPU seconds: Espalier beside what people use today."""
