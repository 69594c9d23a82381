"""From a sentence to a reward: how well writers' specifications rank recorded steps as the true reward does."""
