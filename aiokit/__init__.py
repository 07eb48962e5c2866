"""Async tools that know no domain: they could be a library of their own."""
