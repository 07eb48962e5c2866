/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection tracking: only as much as policy needs, which is to know a reply.
 * An entry never lets a packet of its own direction through: those are judged
 * by policy each time, so that a new deny ends established connections too.
 */
#ifndef CLUSTERMESH_CONNTRACK_H
#define CLUSTERMESH_CONNTRACK_H

#include "packet.h"

#define NANOSECONDS 1000000000ULL
#define LIFETIME_TCP 8000 /* longer than the keep-alive of two hours */
#define LIFETIME_OPENING 60
#define LIFETIME_OTHER 60
#define LIFETIME_CLOSING 10

__inline_always __u32 now_seconds(void)
{
	return bpf_ktime_get_ns() / NANOSECONDS;
}

__inline_always void ct_reverse(struct ct_key *key, const struct ct_key *tuple)
{
	key->daddr = tuple->saddr;
	key->saddr = tuple->daddr;
	key->dport = tuple->sport;
	key->sport = tuple->dport;
	key->nexthdr = tuple->nexthdr;
}

__inline_always __u32 ct_lifetime(__u16 flags, __u8 protocol)
{
	if (protocol != PROTO_TCP)
		return LIFETIME_OTHER;
	if ((flags & CT_RX_CLOSING) && (flags & CT_TX_CLOSING))
		return LIFETIME_CLOSING;
	return flags & CT_SEEN_NON_SYN ? LIFETIME_TCP : LIFETIME_OPENING;
}

__inline_always __u16 ct_next_flags(__u16 flags, __u8 tcp_flags, int is_reply)
{
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return 0; /* the tuple is used anew */
	if (!(tcp_flags & TCP_SYN))
		flags |= CT_SEEN_NON_SYN;
	if (tcp_flags & TCP_RST)
		flags |= CT_RX_CLOSING | CT_TX_CLOSING;
	if (tcp_flags & TCP_FIN)
		flags |= is_reply ? CT_RX_CLOSING : CT_TX_CLOSING;
	return flags;
}

/* Is it alive? If so this packet keeps it so. */
__inline_always int ct_keep(struct ct_value *value, __u8 protocol, __u8 tcp_flags, __u32 bytes, int is_reply)
{
	__u32 now = now_seconds(), lifetime;

	if (value->lifetime < now)
		return 0;
	if (protocol == PROTO_TCP) {
		__u16 flags = ct_next_flags(value->flags, tcp_flags, is_reply);

		if (flags != value->flags)
			value->flags = flags;
	}
	lifetime = now + ct_lifetime(value->flags, protocol);
	if (lifetime != value->lifetime) /* at most once a second: spares the cache line */
		value->lifetime = lifetime;
	__sync_fetch_and_add(&value->packets, 1);
	__sync_fetch_and_add(&value->bytes, bytes);
	return 1;
}

/* Is there such a connection? If so this packet keeps it alive. */
__inline_always int ct_track(struct ct_key *key, struct packet *packet, __u32 bytes, int is_reply)
{
	struct ct_value *value = cilium_ct4_global.lookup(key);

	return value && ct_keep(value, key->nexthdr, packet->tcp_flags, bytes, is_reply);
}

/* As ct_track, but the packet is only about the connection. */
__inline_always int ct_exists(struct ct_key *key)
{
	struct ct_value *value = cilium_ct4_global.lookup(key);

	return value && value->lifetime >= now_seconds();
}

__inline_always void ct_begin(struct ct_value *value, __u32 source_identity, __u32 bytes)
{
	value->lifetime = now_seconds() + LIFETIME_OPENING;
	value->packets = 1;
	value->bytes = bytes;
	value->src_sec_id = source_identity;
}

__inline_always void ct_open(struct ct_key *key, __u32 source_identity, __u32 bytes)
{
	struct ct_value value = {};

	ct_begin(&value, source_identity, bytes);
	cilium_ct4_global.update(key, &value); /* an LRU map is never full */
}

/* Does the packet answer a connection that was admitted in the other direction?
 * `own` is the CT direction in which this packet would open one. */
__inline_always int ct_is_reply(struct packet *packet, __u8 own, __u32 bytes)
{
	struct ct_key key = {};

	if (packet->is_error) {
		/* an error must be about a packet sent by whoever receives the error */
		if (packet->about.saddr != packet->tuple.daddr)
			return 0;
		key = packet->about;
		key.flags = own ^ CT_IN;
		if (ct_exists(&key))
			return 1;
		ct_reverse(&key, &packet->about);
		key.flags = own;
		return ct_exists(&key);
	}
	if (packet->asks) /* an echo's identifier may be 0, as all ports of other types are */
		return 0;
	ct_reverse(&key, &packet->tuple);
	key.flags = own ^ CT_IN;
	return ct_track(&key, packet, bytes, 1);
}

#endif
