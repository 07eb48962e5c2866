/* SPDX-License-Identifier: Apache-2.0
 *
 * The programs of container.c and overlay.c, for packets of IPv6.
 */
#ifndef CLUSTERMESH_CONTAINER6_H
#define CLUSTERMESH_CONTAINER6_H

#include "host6.h"
#include "naterror6.h"
#include "neighbour.h"

__inline_always int encapsulate(struct __sk_buff *skb, __u32 tunnel, __u32 identity); /* container.c */

/* tcx ingress: what a pod sends. */
__inline_always int handle_from_container6(struct __sk_buff *skb)
{
	struct endpoint_value *source, *local;
	struct ipcache_value *remote;
	struct packet6 packet = {};
	struct ct6_key opened WORDS = {};
	struct question ask = {};
	int reason;

	reason = parse6(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	if (is_neighbour_discovery(&packet))
		return hear_neighbour(skb, &packet);
	if (is_link_multicast(&packet.tuple.daddr))
		return IGNORED;
	source = endpoint6_here(skb, &packet.tuple.saddr);
	if (!source)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	if (source->sec_id <= IDENTITY_HOST || source->sec_id >= IDENTITY_WIRE_LIMIT)
		return drop(skb, DROP_INVALID_IDENTITY, METRIC_EGRESS);

	local = endpoint6_of(&packet.tuple.daddr);
	remote = ipcache6_of(&packet.tuple.daddr);
	ask.peer = local ? local->sec_id : remote ? remote->identity : IDENTITY_WORLD;
	ask.source = source->sec_id;
	ask.lxc_id = source->lxc_id;
	ask.direction = DIRECTION_EGRESS;
	ask.ranges = !!(source->flags & ENDPOINT_PORT_RANGES);
	ask.enforced = !!(source->flags & ENDPOINT_EGRESS_ENFORCED);
	reason = admit6(skb, &packet, &ask);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);

	if (local) {
		reason = admit6_ingress(skb, &packet, local, source->sec_id);
		if (reason)
			return drop(skb, reason, METRIC_INGRESS);
		return deliver(skb, local);
	}
	if (remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL)) {
		if (remote->flags & IPCACHE_IPV6_TUNNEL) /* the tunnel is one of IPv4 */
			return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
		return encapsulate(skb, remote->tunnel[0], source->sec_id);
	}
	if (is_answer_of_pod6(&packet, &opened))
		return answer_client6(skb, &packet, &opened);
	if (is_error_of_pod6(&packet, &opened))
		return tell_client6(skb, &packet, &opened);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS; /* nodes and the world: the stack's business */
}

__inline_always int from_container6(struct __sk_buff *skb)
{
	begin6(skb, METRIC_EGRESS);
	return report6(skb, handle_from_container6(skb));
}

/* As stack_identity. A link-local address is the node's own: no router lets one pass. */
__inline_always __u32 stack6_identity(struct address6 *address)
{
	struct ipcache_value *entry;

	if (is_link_local(address))
		return IDENTITY_HOST;
	entry = ipcache6_of(address);
	if (!entry)
		return IDENTITY_WORLD;
	if (entry->identity >= IDENTITY_FIRST_ALLOCATED && entry->tunnel[0] &&
	    !(entry->flags & IPCACHE_SKIP_TUNNEL)) /* native routing: from the network after all */
		return 0;
	return entry->identity;
}

/* tcx egress: what the node's stack sends to a pod. */
__inline_always int handle_to_container6(struct __sk_buff *skb)
{
	struct endpoint_value *endpoint;
	struct packet6 packet = {};
	__u32 identity;
	int reason;

	reason = parse6(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	if (is_neighbour_discovery(&packet)) /* the node's own, or from_container's answer */
		return packet.hop_limit == NEIGHBOUR_HOPS ? PASS : IGNORED;
	if (is_link_multicast(&packet.tuple.daddr))
		return IGNORED;
	endpoint = endpoint6_here(skb, &packet.tuple.daddr);
	if (!endpoint)
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_INGRESS);
	identity = stack6_identity(&packet.tuple.saddr);
	if (!identity || is_forged6(skb, &packet.tuple.saddr))
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	reason = admit6_ingress(skb, &packet, endpoint, identity);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

__inline_always int to_container6(struct __sk_buff *skb)
{
	begin6(skb, METRIC_INGRESS);
	return report6(skb, handle_to_container6(skb));
}

/* tcx ingress: what other nodes send. The VNI is the sender's identity. */
__inline_always int handle_from_overlay6(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct endpoint_value *endpoint;
	struct packet6 packet = {};
	struct ct6_key opened WORDS = {};
	int reason;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return drop(skb, DROP_NO_TUNNEL_KEY, METRIC_INGRESS);
	if (key.tunnel_id == IDENTITY_HOST)
		return drop(skb, DROP_INVALID_IDENTITY, METRIC_INGRESS);
	reason = parse6(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	if (is_neighbour_discovery(&packet)) /* from afar, but not a hop fewer: it would be believed */
		return drop(skb, DROP_ICMPV6_TYPE, METRIC_INGRESS);
	endpoint = endpoint6_of(&packet.tuple.daddr);
	if (!endpoint && is_answer_to_relay6(&packet, &opened))
		return answer_client6(skb, &packet, &opened);
	if (!endpoint && is_error_to_relay6(&packet, &opened))
		return tell_client6(skb, &packet, &opened);
	if (!endpoint)
		return admit_to_host6(skb, &packet, key.tunnel_id);
	reason = admit6_ingress(skb, &packet, endpoint, key.tunnel_id);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	return deliver(skb, endpoint);
}

__inline_always int from_overlay6(struct __sk_buff *skb)
{
	begin6(skb, METRIC_INGRESS);
	return report6(skb, handle_from_overlay6(skb));
}

#endif
