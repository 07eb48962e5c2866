"""`clustermesh-dbg`: looks into one agent over its unix socket."""
