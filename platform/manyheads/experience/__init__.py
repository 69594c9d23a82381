"""Exact transitions: how they are collected, stored and read in batches."""
