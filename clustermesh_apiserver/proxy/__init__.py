"""The mTLS proxy in front of a cluster's etcd: what other clusters may read, and nothing else."""
