"""What a cluster mesh is: identity numbering, the key grammar, one codec per kind of entry, the merge rules.

Pure: no tasks, no sockets, no clock. Everything here can be called from anywhere.
"""
