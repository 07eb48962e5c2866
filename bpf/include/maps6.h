/* SPDX-License-Identifier: Apache-2.0
 *
 * The maps for IPv6: those of maps.h and servicemaps.h again, with longer addresses. Cilium's names and
 * layouts; bpf/layout6.py says the same in Python. Values without an address in them
 * are shared. So are cilium_ipcache_v2 and cilium_lxc, whose keys say the family, and
 * cilium_lb_affinity_match: the ids of IPv6 backends begin at 1 << 31.
 *
 * They stand beside the maps of a version without IPv6, so no other SCHEMA_VERSION.
 */
#ifndef CLUSTERMESH_MAPS6_H
#define CLUSTERMESH_MAPS6_H

#include "servicemaps.h"

#define FAMILY_IPV6 2

struct address6 {
	__u32 words[4]; /* BE */
};

struct lb6_service_key {
	struct address6 address;
	__u16 dport; /* BE */
	__u16 backend_slot;
	__u8 proto;
	__u8 scope;
	__u8 pad[2];
};

struct lb6_backend_value {
	struct address6 address;
	__u16 port; /* BE */
	__u8 proto;
	__u8 flags;
	__u16 cluster_id;
	__u8 zone;
	__u8 pad;
};

struct lb6_reverse_nat_value {
	struct address6 address;
	__u16 port; /* BE */
} __attribute__((packed));

struct lb6_reverse_sk_key {
	__u64 cookie;
	struct address6 address; /* the backend */
	__u16 port;              /* BE */
	__u16 pad;
	__u32 pad2;
};

struct lb6_reverse_sk_value {
	struct address6 address; /* the service */
	__u16 port;              /* BE */
	__u16 rev_nat_index;     /* BE */
};

struct lb6_affinity_key {
	__u64 client; /* the cookie of its network namespace */
	__u64 client_rest;
	__u16 rev_nat_id;  /* BE */
	__u8 netns_cookie; /* bit 0: `client` is a cookie, not an address */
	__u8 pad1;
	__u32 pad2;
};

struct ct6_key {
	struct address6 daddr;
	struct address6 saddr;
	__u16 dport; /* BE */
	__u16 sport; /* BE */
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

struct frag6_key {
	__u32 id; /* BE */
	__u8 proto;
	__u8 pad[3];
	struct address6 saddr;
	struct address6 daddr;
};

/* In cilium_events too; a reader knows it from `struct event` by its length. */
struct event6 {
	__u64 time;
	__u32 peer;
	struct address6 saddr;
	struct address6 daddr;
	__u16 sport; /* BE; for ICMPv6 the type */
	__u16 dport; /* BE */
	__u32 length;
	__u16 lxc_id;
	__u8 type;
	__u8 reason;
	__u8 direction;
	__u8 proto;
	__u8 tcp_flags;
	__u8 pad[5];
};

BPF_TABLE_PINNED("hash", struct lb6_service_key, struct lb4_service_value, cilium_lb6_services_v2, 65536,
		 MAP_ROOT "/cilium_lb6_services_v2", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct lb4_backend_key, struct lb6_backend_value, cilium_lb6_backends_v3, 65536,
		 MAP_ROOT "/cilium_lb6_backends_v3", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct lb4_reverse_nat_key, struct lb6_reverse_nat_value, cilium_lb6_reverse_nat, 65536,
		 MAP_ROOT "/cilium_lb6_reverse_nat", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("lru_hash", struct lb6_reverse_sk_key, struct lb6_reverse_sk_value, cilium_lb6_reverse_sk, 65536,
		 MAP_ROOT "/cilium_lb6_reverse_sk", 0);
BPF_TABLE_PINNED("lru_hash", struct lb6_affinity_key, struct lb4_affinity_value, cilium_lb6_affinity, 65536,
		 MAP_ROOT "/cilium_lb6_affinity", 0);
BPF_TABLE_PINNED("lru_hash", struct ct6_key, struct ct_value, cilium_ct6_global, 65536,
		 MAP_ROOT "/cilium_ct6_global", 0);
BPF_TABLE_PINNED("lru_hash", struct frag6_key, struct frag_value, cilium_ipv6_frag_datagrams, 8192,
		 MAP_ROOT "/cilium_ipv6_frag_datagrams", 0);

#endif
