"""What a trained model is worth: protocols and their figures."""
