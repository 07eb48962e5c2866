"""What an operator does with a mesh from its first day to its last, by the command line alone."""
