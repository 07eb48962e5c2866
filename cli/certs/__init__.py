"""`clustermesh certs`: look at a cluster's certificates, renew them, replace the authority, revoke a peer."""
