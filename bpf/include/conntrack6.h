/* SPDX-License-Identifier: Apache-2.0
 *
 * As conntrack.h, for the tuples of IPv6.
 */
#ifndef CLUSTERMESH_CONNTRACK6_H
#define CLUSTERMESH_CONNTRACK6_H

#include "conntrack.h"
#include "packet6.h"

__inline_always void ct6_reverse(struct ct6_key *key, const struct ct6_key *tuple)
{
	key->daddr = tuple->saddr;
	key->saddr = tuple->daddr;
	key->dport = tuple->sport;
	key->sport = tuple->dport;
	key->nexthdr = tuple->nexthdr;
}

__inline_always int ct6_track(struct ct6_key *key, struct packet6 *packet, __u32 bytes, int is_reply)
{
	struct ct_value *value = cilium_ct6_global.lookup(key);

	return value && ct_keep(value, key->nexthdr, packet->tcp_flags, bytes, is_reply);
}

__inline_always int ct6_exists(struct ct6_key *key)
{
	struct ct_value *value = cilium_ct6_global.lookup(key);

	return value && value->lifetime >= now_seconds();
}

__inline_always void ct6_open(struct ct6_key *key, __u32 source_identity, __u32 bytes)
{
	struct ct_value value = {};

	ct_begin(&value, source_identity, bytes);
	cilium_ct6_global.update(key, &value);
}

__inline_always int ct6_is_reply(struct packet6 *packet, __u8 own, __u32 bytes)
{
	struct ct6_key key WORDS = {};

	if (packet->is_error) {
		if (!same6(&packet->about.saddr, &packet->tuple.daddr))
			return 0;
		key = packet->about;
		key.flags = own ^ CT_IN;
		if (ct6_exists(&key))
			return 1;
		ct6_reverse(&key, &packet->about);
		key.flags = own;
		return ct6_exists(&key);
	}
	/* an echo's identifier may be 0, as all ports of other types are */
	if (packet->icmp_type && packet->icmp_type != ICMPV6_ECHO_REPLY)
		return 0;
	ct6_reverse(&key, &packet->tuple);
	key.flags = own ^ CT_IN;
	return ct6_track(&key, packet, bytes, 1);
}

#endif
