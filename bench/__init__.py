"""What the parts cost, each figure beside its floor measured in the same run. Not for production."""
