/* SPDX-License-Identifier: Apache-2.0
 *
 * Every map of the data path: keys, values, sizes.
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

/* cilium_events: what happened to single packets, for whoever watches. Fixed size: a reader
 * steps through the ring without looking at more than the headers. */
#define EVENT_DROP 1
#define EVENT_TRACE 4

struct event {
	__u64 time; /* nanoseconds of the monotonic clock */
	__u32 peer; /* identity of the other side; 0: not looked at */
	__u32 saddr; /* BE */
	__u32 daddr; /* BE */
	__u16 sport; /* BE; for ICMP the type */
	__u16 dport; /* BE */
	__u32 length;
	__u16 lxc_id; /* the endpoint that was asked about; 0: none */
	__u8 type;
	__u8 reason;
	__u8 direction; /* as in metrics_key */
	__u8 proto;
	__u8 tcp_flags;
	__u8 pad[5];
};

/* cilium_event_config: what is wanted in the ring. One entry; all zero while nobody watches. */
struct event_config_value {
	__u32 drops;
	__u32 trace_every; /* one of so many forwarded packets; 0: none */
};

#define EVENTS_BYTES (256 * 4096)

/* BCC has no macro for a pinned ring: this is what BPF_RINGBUF_OUTPUT declares, with a path. */
struct cilium_events_table_t {
	int key;
	__u32 leaf;
	int (*ringbuf_output)(void *, __u64, __u64);
	void *(*ringbuf_reserve)(__u64);
	void (*ringbuf_discard)(void *, __u64);
	void (*ringbuf_submit)(void *, __u64);
	__u64 (*ringbuf_query)(__u64);
	__u32 max_entries;
};
__attribute__((section("maps/ringbuf:" MAP_ROOT "/cilium_events")))
struct cilium_events_table_t cilium_events = { .max_entries = EVENTS_BYTES };

/* MAP_ROOT is defined by the loader: the directory of the pins. */
BPF_TABLE_PINNED("lpm_trie", struct ipcache_key, struct ipcache_value, cilium_ipcache_v2, 512000,
		 MAP_ROOT "/cilium_ipcache_v2", BPF_F_NO_PREALLOC_FLAG);
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
BPF_TABLE_PINNED("array", int, struct event_config_value, cilium_event_config, 1,
		 MAP_ROOT "/cilium_event_config", 0);

#endif
