"""Benchmarks against published models: one script each, run as ``python -m oar_opt.bench.NAME``."""
