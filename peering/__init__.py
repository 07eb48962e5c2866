"""A connection to a peer, from its configuration file to its entries: dialled, accepted, followed, lost.

Shared by whoever reads other clusters; what is made of the entries is each program's own `Sink`.
"""
