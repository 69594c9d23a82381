"""Simulators under one contract: named options, signals and space layouts."""
