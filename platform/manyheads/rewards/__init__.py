"""Rewards as views over signals: the contract, the grammar, its checks and its compiler."""
