"""The HTTPS gateway: one loop that checks keys, applies the split, forwards to replicas and counts what came back."""
