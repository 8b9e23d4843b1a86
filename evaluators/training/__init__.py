"""Fine-tuning a network, and scoring it."""
