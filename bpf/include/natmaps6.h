/* SPDX-License-Identifier: Apache-2.0
 *
 * As natmaps.h, for services of IPv6. cilium_snat_v6_external and cilium_lb6_source_range have
 * Cilium's layouts; the others are ours.
 * They stand beside the maps of a version without them, so no other SCHEMA_VERSION.
 */
#ifndef CLUSTERMESH_NATMAPS6_H
#define CLUSTERMESH_NATMAPS6_H

#include "maps6.h"
#include "natmaps.h"

/* cilium_snat_v6_external, by ct6_key; as snat_value. */
struct snat6_value {
	__u64 created; /* nanoseconds of the monotonic clock */
	__u64 needs_ct;
	__u64 pad1;
	__u64 pad2;
	struct address6 address;
	__u16 port; /* BE */
	__u16 pad3[3];
};

/* cilium_nodeport6_config: one entry, at index 0. An address that is missing is ::. */
struct nodeport6_config_value {
	struct address6 node_ip;       /* the node's own */
	struct address6 tunnel_source; /* the node's among the pods */
	__u32 device; /* by which other nodes are reached; 0: by the one that a client's packets come by */
};

struct lb6_source_range_key {
	__u32 prefixlen;  /* SOURCE_RANGE_FIXED_BITS + prefix bits */
	__u16 rev_nat_id; /* BE */
	__u16 pad;
	struct address6 address;
};

BPF_TABLE_PINNED("lru_hash", struct ct6_key, struct snat6_value, cilium_snat_v6_external, 65536,
		 MAP_ROOT "/cilium_snat_v6_external", 0);
BPF_TABLE_PINNED("array", int, struct nodeport6_config_value, cilium_nodeport6_config, 1,
		 MAP_ROOT "/cilium_nodeport6_config", 0);
BPF_TABLE_PINNED("lpm_trie", struct lb6_source_range_key, struct source_range_value, cilium_lb6_source_range, 16384,
		 MAP_ROOT "/cilium_lb6_source_range", BPF_F_NO_PREALLOC_FLAG);
/* Tables of their own: reverse NAT ids are numbers of a family. */
BPF_TABLE_PINNED("hash", struct maglev_table_key, struct maglev_table_value, cilium_maglev6_tables, 4096,
		 MAP_ROOT "/cilium_maglev6_tables", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct maglev_slots_key, struct maglev_slots_value, cilium_maglev6_slots, 65536,
		 MAP_ROOT "/cilium_maglev6_slots", BPF_F_NO_PREALLOC_FLAG);

#endif
