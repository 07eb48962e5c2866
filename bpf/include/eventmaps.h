/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of what happened to single packets, and what is wanted in it.
 */
#ifndef CLUSTERMESH_EVENTMAPS_H
#define CLUSTERMESH_EVENTMAPS_H

#include "maps.h"

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

BPF_TABLE_PINNED("array", int, struct event_config_value, cilium_event_config, 1,
		 MAP_ROOT "/cilium_event_config", 0);

#endif
