/* SPDX-License-Identifier: Apache-2.0
 *
 * The maps of addresses, endpoints, policies and connections: keys, values, sizes. Those of services are in
 * servicemaps.h and natmaps.h, those of single packets in eventmaps.h.
 *
 * Names and layouts are those of Cilium 1.20 where it has the map, so that
 * bpftool and people who know Cilium see what they expect. bpf/layout.py and
 * bpf/spec.py say the same in Python; the loader and the tests compare both.
 *
 * A change of any layout, type or size needs a new SCHEMA_VERSION in
 * bpf/spec.py: a pinned map is never reinterpreted.
 *
 * Integers are in host byte order unless the comment says BE (network order).
 */
#ifndef CLUSTERMESH_MAPS_H
#define CLUSTERMESH_MAPS_H

#include <linux/types.h>

#define BPF_F_NO_PREALLOC_FLAG 1

#define FAMILY_IPV4 1
#define LPM_FIXED_BITS 32 /* cluster id, pad and family are always matched in full */

/* cilium_ipcache_v2: IP prefix -> security identity and the node behind it. */
struct ipcache_key {
	__u32 prefixlen; /* LPM_FIXED_BITS + prefix bits */
	__u16 cluster_id;
	__u8 pad;
	__u8 family;
	__u32 address[4]; /* BE; IPv4 in the first */
};

#define IPCACHE_SKIP_TUNNEL 1

struct ipcache_value {
	__u32 identity;
	__u32 tunnel[4]; /* BE; IPv4 in the first; 0: no tunnel */
	__u16 pad;
	__u8 encrypt_key;
	__u8 flags;
};

/* cilium_lxc: the endpoints of this node. */
struct endpoint_key {
	__u32 address[4]; /* BE; IPv4 in the first */
	__u8 family;
	__u8 key;
	__u16 cluster_id;
};

/* In bits that Cilium leaves unused: a direction is enforced only where its bit is set. */
#define ENDPOINT_INGRESS_ENFORCED (1 << 16)
#define ENDPOINT_EGRESS_ENFORCED (1 << 17)
#define ENDPOINT_PORT_RANGES (1 << 18) /* it has policy entries with open bits */

struct endpoint_value {
	__u32 ifindex; /* the host's side of the veth */
	__u16 unused;
	__u16 lxc_id;
	__u32 flags;
	__u32 rt_info;
	__u64 mac;      /* of the pod; six bytes in wire order */
	__u64 node_mac; /* of the host's side */
	__u32 sec_id;
	__u32 parent_ifindex;
	__u32 pad[2];
};

/* cilium_policy: one hash for all endpoints of the node. Zero in identity, or in
 * port, or in proto and port, means "any". */
#define DIRECTION_INGRESS 0
#define DIRECTION_EGRESS 1

struct policy_key {
	__u32 identity;
	__u16 lxc_id;
	__u16 dport; /* BE */
	__u8 proto;
	__u8 direction;
	__u16 open_bits; /* so many low bits of the port do not count, and are 0 */
};

struct policy_value {
	__u8 deny;
	__u8 pad[7];
};

/* cilium_ct4_global: connections, by the tuple of the packet that opened them. */
#define CT_OUT 0 /* opened by a local endpoint */
#define CT_IN 1  /* opened towards a local endpoint */

struct ct_key {
	__u32 daddr; /* BE */
	__u32 saddr; /* BE */
	__u16 dport; /* BE */
	__u16 sport; /* BE */
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

#define CT_RX_CLOSING (1 << 0)
#define CT_TX_CLOSING (1 << 1)
#define CT_SEEN_NON_SYN (1 << 4)

struct ct_value {
	__u32 nat_addr[4];
	__u64 packets;
	__u64 bytes;
	__u32 lifetime; /* seconds of the monotonic clock; dead after it */
	__u16 flags;
	__u16 rev_nat_index;
	__u16 nat_port;
	__u8 tx_flags_seen;
	__u8 rx_flags_seen;
	__u32 src_sec_id;
	__u32 last_tx_report;
	__u32 last_rx_report;
};

/* cilium_ipv4_frag_datagrams: only a datagram's first fragment has its ports. */
struct frag_key {
	__u32 daddr; /* BE */
	__u32 saddr; /* BE */
	__u16 id;    /* BE */
	__u8 proto;
	__u8 pad;
};

struct frag_value {
	__u16 sport; /* BE */
	__u16 dport; /* BE */
};

/* cilium_metrics: what happened to packets. */
struct metrics_key {
	__u8 reason; /* 0: forwarded */
	__u8 dir;    /* 1 ingress, 2 egress, 3 a service look-up */
	__u16 line;
	__u8 file;
	__u8 reserved[3];
};

struct metrics_value {
	__u64 count;
	__u64 bytes;
};

/* cilium_node_config: what differs from node to node, so that one source serves all.
 * One entry, at index 0. (The kernel wants a plain integer as an array's key.) */
struct node_config_value {
	__u32 node_ip; /* BE */
	__u32 vxlan_ifindex;
	__u32 mtu;
	__u8 source_hash[20]; /* of the loaded programs; written last, by the loader */
};

/* MAP_ROOT is defined by the loader: the directory of the pins. */
BPF_TABLE_PINNED("lpm_trie", struct ipcache_key, struct ipcache_value, cilium_ipcache_v2, 512000,
		 MAP_ROOT "/cilium_ipcache_v2", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct endpoint_key, struct endpoint_value, cilium_lxc, 65535,
		 MAP_ROOT "/cilium_lxc", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("hash", struct policy_key, struct policy_value, cilium_policy, 131072,
		 MAP_ROOT "/cilium_policy", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("lru_hash", struct ct_key, struct ct_value, cilium_ct4_global, 65536,
		 MAP_ROOT "/cilium_ct4_global", 0);
BPF_TABLE_PINNED("lru_hash", struct frag_key, struct frag_value, cilium_ipv4_frag_datagrams, 8192,
		 MAP_ROOT "/cilium_ipv4_frag_datagrams", 0);
BPF_TABLE_PINNED("percpu_hash", struct metrics_key, struct metrics_value, cilium_metrics, 1024,
		 MAP_ROOT "/cilium_metrics", BPF_F_NO_PREALLOC_FLAG);
BPF_TABLE_PINNED("array", int, struct node_config_value, cilium_node_config, 1,
		 MAP_ROOT "/cilium_node_config", 0);

#endif
