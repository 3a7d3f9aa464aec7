"""The ports fulfilled with AWS's clients."""
