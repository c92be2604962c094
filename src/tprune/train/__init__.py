"""Training and fine-tuning through transformers' Trainer."""
