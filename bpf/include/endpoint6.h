/* SPDX-License-Identifier: Apache-2.0
 *
 * As policy.h and endpoint.h, for IPv6. A policy is about identities, ports and
 * protocols: it is the same for both families, but for the types of ICMPv6.
 */
#ifndef CLUSTERMESH_ENDPOINT6_H
#define CLUSTERMESH_ENDPOINT6_H

#include "conntrack6.h"
#include "endpoint.h"

#define IPCACHE_IPV6_TUNNEL 4

__inline_always struct endpoint_value *endpoint6_of(struct address6 *address)
{
	struct endpoint_key key = {};

	__builtin_memcpy(key.address, address, sizeof(key.address));
	key.family = FAMILY_IPV6;
	return cilium_lxc.lookup(&key);
}

/* The endpoint that has this address, if it is the one at this device. */
__inline_always struct endpoint_value *endpoint6_here(struct __sk_buff *skb, struct address6 *address)
{
	struct endpoint_value *endpoint = endpoint6_of(address);

	return endpoint && endpoint->ifindex == skb->ifindex ? endpoint : 0;
}

__inline_always struct ipcache_value *ipcache6_of(struct address6 *address)
{
	struct ipcache_key key = {};

	key.prefixlen = LPM_FIXED_BITS + 128;
	key.family = FAMILY_IPV6;
	__builtin_memcpy(key.address, address, sizeof(key.address));
	return cilium_ipcache_v2.lookup(&key);
}

__inline_always int admit6(struct __sk_buff *skb, struct packet6 *packet, struct question *ask)
{
	__u8 own = ask->direction == DIRECTION_INGRESS ? CT_IN : CT_OUT;
	struct ct6_key key WORDS;
	int reason;

	skb->cb[CB_PEER] = ask->peer;
	skb->cb[CB_ENDPOINT] = ask->lxc_id;
	if (ct6_is_reply(packet, own, skb->len))
		return 0;
	if (ask->enforced) {
		reason = policy_verdict(skb, ask, packet->tuple.nexthdr, packet->policy_port);
		if (reason)
			return reason;
	}
	key = packet->tuple;
	key.flags = own;
	if (!ct6_track(&key, packet, skb->len, 0) && packet->opens)
		ct6_open(&key, ask->source, skb->len);
	return 0;
}

__inline_always int admit6_ingress(struct __sk_buff *skb, struct packet6 *packet,
				   struct endpoint_value *endpoint, __u32 source)
{
	struct question ask = {};

	ask_ingress(&ask, endpoint, source);
	return admit6(skb, packet, &ask);
}

#endif
