"""Trained models on the Hugging Face Hub, with a card that describes them."""
