/* SPDX-License-Identifier: Apache-2.0
 *
 * The maps of services over IPv4, at any address: keys, values, sizes. Byte orders as in maps.h.
 */
#ifndef CLUSTERMESH_SERVICEMAPS_H
#define CLUSTERMESH_SERVICEMAPS_H

#include "maps.h"

/* cilium_lb4_services_v2: slot 0 is the master entry, 1..count name a backend. */
struct lb4_service_key {
	__u32 address; /* BE */
	__u16 dport;   /* BE */
	__u16 backend_slot;
	__u8 proto;
	__u8 scope;
	__u8 pad[2];
};

#define SERVICE_SESSION_AFFINITY (1 << 4) /* in a master's flags */
#define AFFINITY_SECONDS 0xffffff /* the bits of a master's backend_id that have the time-out */

struct lb4_service_value {
	__u32 backend_id; /* in a master with session affinity: its time-out */
	__u16 count;
	__u16 rev_nat_index; /* BE */
	__u8 flags;
	__u8 flags2;
	__u16 qcount;
};

struct lb4_backend_key {
	__u32 id;
};

struct lb4_backend_value {
	__u32 address; /* BE */
	__u16 port;    /* BE */
	__u8 proto;
	__u8 flags;
	__u16 cluster_id;
	__u8 zone;
	__u8 pad;
};

struct lb4_reverse_nat_key {
	__u16 id; /* BE */
};

struct lb4_reverse_nat_value {
	__u32 address; /* BE */
	__u16 port;    /* BE */
} __attribute__((packed));

/* cilium_lb4_reverse_sk: what a socket believes it talks to. */
struct lb4_reverse_sk_key {
	__u64 cookie;
	__u32 address; /* BE: the backend */
	__u16 port;    /* BE */
	__u16 pad;
};

struct lb4_reverse_sk_value {
	__u32 address; /* BE: the service */
	__u16 port;    /* BE */
	__u16 rev_nat_index; /* BE */
};

/* cilium_lb4_affinity: the backend that a client had last. */
struct lb4_affinity_key {
	__u64 client;      /* the cookie of its network namespace */
	__u16 rev_nat_id;  /* BE */
	__u8 netns_cookie; /* bit 0: `client` is a cookie, not an address */
	__u8 pad1;
	__u32 pad2;
};

struct lb4_affinity_value {
	__u64 last_used; /* seconds of the monotonic clock */
	__u32 backend_id;
	__u32 pad;
};

/* cilium_lb_affinity_match: which backends a service may keep clients at. */
struct lb_affinity_match_key {
	__u32 backend_id;
	__u16 rev_nat_id; /* BE */
	__u16 pad;
};

BPF_TABLE_PINNED("hash", struct lb4_service_key, struct lb4_service_value, cilium_lb4_services_v2, 65536,
		 MAP_ROOT "/cilium_lb4_services_v2", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct lb4_backend_key, struct lb4_backend_value, cilium_lb4_backends_v3, 65536,
		 MAP_ROOT "/cilium_lb4_backends_v3", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct lb4_reverse_nat_key, struct lb4_reverse_nat_value, cilium_lb4_reverse_nat, 65536,
		 MAP_ROOT "/cilium_lb4_reverse_nat", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("lru_hash", struct lb4_reverse_sk_key, struct lb4_reverse_sk_value, cilium_lb4_reverse_sk, 65536,
		 MAP_ROOT "/cilium_lb4_reverse_sk", 0);
BPF_TABLE_PINNED("lru_hash", struct lb4_affinity_key, struct lb4_affinity_value, cilium_lb4_affinity, 65536,
		 MAP_ROOT "/cilium_lb4_affinity", 0);
BPF_TABLE_PINNED("hash", struct lb_affinity_match_key, __u8, cilium_lb_affinity_match, 65536,
		 MAP_ROOT "/cilium_lb_affinity_match", BPF_F_NO_PREALLOC_FLAG);

#endif
