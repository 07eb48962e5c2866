"""HTTP/2 as far as a gRPC server needs it (RFC 9113): bytes in, calls out; calls' answers in, bytes out."""
