/* SPDX-License-Identifier: Apache-2.0
 *
 * The maps of services for clients outside. cilium_snat_v4_external and cilium_lb4_source_range have
 * Cilium's layouts; the others are ours.
 * They stand beside the maps of a version without node ports, so no other SCHEMA_VERSION.
 */
#ifndef CLUSTERMESH_NATMAPS_H
#define CLUSTERMESH_NATMAPS_H

#include "servicemaps.h"

/* cilium_snat_v4_external, by ct_key. Towards the backend (CT_OUT): the source that it sees; back
 * (CT_IN): the client. */
struct snat_value {
	__u64 created; /* nanoseconds of the monotonic clock */
	__u64 needs_ct;
	__u64 pad1;
	__u64 pad2;
	__u32 address; /* BE */
	__u16 port;    /* BE */
	__u16 pad3;
};

/* cilium_nodeport_config: one entry, at index 0. */
struct nodeport_config_value {
	__u32 tunnel_source; /* BE: the node's address among the pods; 0: the node's own towards everybody */
	__u32 device; /* by which other nodes are reached; 0: by the one that a client's packets come by */
};

/* cilium_maglev_tables: the table of a service. */
struct maglev_table_key {
	__u16 rev_nat_id; /* BE */
	__u16 pad;
};

struct maglev_table_value {
	__u32 table;
	__u32 size; /* slots */
};

/* cilium_maglev_slots: the tables, in parts. A part is never changed. */
#define MAGLEV_PART 256

struct maglev_slots_key {
	__u32 table;
	__u32 part;
};

struct maglev_slots_value {
	__u32 backend[MAGLEV_PART]; /* ids */
};

/* cilium_lb4_source_range: which clients a service is for, if it is not for all. */
#define SOURCE_RANGE_FIXED_BITS 32 /* the service is always matched in full */

struct lb4_source_range_key {
	__u32 prefixlen;  /* SOURCE_RANGE_FIXED_BITS + prefix bits */
	__u16 rev_nat_id; /* BE */
	__u16 pad;
	__u32 address; /* BE */
};

struct source_range_value {
	__u8 flags;
};

BPF_TABLE_PINNED("lru_hash", struct ct_key, struct snat_value, cilium_snat_v4_external, 65536,
		 MAP_ROOT "/cilium_snat_v4_external", 0);
BPF_TABLE_PINNED("array", int, struct nodeport_config_value, cilium_nodeport_config, 1,
		 MAP_ROOT "/cilium_nodeport_config", 0);
BPF_TABLE_PINNED("lpm_trie", struct lb4_source_range_key, struct source_range_value, cilium_lb4_source_range, 16384,
		 MAP_ROOT "/cilium_lb4_source_range", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct maglev_table_key, struct maglev_table_value, cilium_maglev_tables, 4096,
		 MAP_ROOT "/cilium_maglev_tables", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct maglev_slots_key, struct maglev_slots_value, cilium_maglev_slots, 65536,
		 MAP_ROOT "/cilium_maglev_slots", BPF_F_NO_PREALLOC_FLAG);

#endif
