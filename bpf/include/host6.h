/* SPDX-License-Identifier: Apache-2.0
 *
 * As host.h and host.c, for packets of IPv6.
 */
#ifndef CLUSTERMESH_HOST6_H
#define CLUSTERMESH_HOST6_H

#include "events6.h"
#include "host.h"

/* As own_identity. */
__inline_always __u32 own6_identity(struct address6 *address)
{
	struct ipcache_value *entry = ipcache6_of(address);

	if (!entry || entry->tunnel[0])
		return 0;
	return entry->identity == IDENTITY_HOST || entry->identity == IDENTITY_HEALTH ? entry->identity : 0;
}

/* As is_health_probe. */
__inline_always int is_health_probe6(struct packet6 *packet, __u32 source)
{
	if (source != IDENTITY_REMOTE_NODE)
		return 0;
	if (packet->tuple.nexthdr == PROTO_TCP)
		return packet->tuple.dport == swap16(HEALTH_PORT);
	return packet->tuple.nexthdr == PROTO_ICMPV6 &&
	       packet->policy_port == swap16(ICMP_TYPES + ICMPV6_ECHO_REQUEST);
}

__inline_always int is_forged6(struct __sk_buff *skb, struct address6 *address)
{
	struct endpoint_value *local = endpoint6_of(address);

	return local && local->ifindex != skb->ingress_ifindex;
}

__inline_always int admit_to_host6(struct __sk_buff *skb, struct packet6 *packet, __u32 source)
{
	__u32 own = own6_identity(&packet->tuple.daddr);

	if (!own)
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_INGRESS);
	if (!(own == IDENTITY_HEALTH && is_health_probe6(packet, source)) &&
	    !ct6_is_reply(packet, CT_IN, skb->len))
		return drop(skb, DROP_POLICY, METRIC_INGRESS);
	bpf_skb_change_type(skb, PACKET_FOR_US);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

__inline_always void expect_answer6(struct packet6 *packet, __u32 bytes)
{
	struct ct6_key key WORDS = packet->tuple;

	key.flags = CT_OUT;
	if (!ct6_track(&key, packet, bytes, 0))
		ct6_open(&key, IDENTITY_HOST, bytes);
}

/* tcx egress, cilium_vxlan: what no program has encapsulated. */
__inline_always int handle_to_overlay6(struct __sk_buff *skb)
{
	struct node_config_value *node = node_config();
	struct bpf_tunnel_key key = {};
	struct ipcache_value *remote;
	struct packet6 packet = {};
	int reason;
	__u32 own;

	reason = parse6(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	/* the device's own: nobody is on its link */
	if (is_neighbour_discovery(&packet) || is_link_multicast(&packet.tuple.daddr))
		return IGNORED;
	own = own6_identity(&packet.tuple.saddr);
	if (!own)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	remote = ipcache6_of(&packet.tuple.daddr);
	if (!node)
		return drop(skb, DROP_NO_CONFIG, METRIC_EGRESS);
	if (!remote || !remote->tunnel[0] || remote->tunnel[0] == node->node_ip ||
	    (remote->flags & (IPCACHE_SKIP_TUNNEL | IPCACHE_IPV6_TUNNEL)))
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	expect_answer6(&packet, skb->len);

	key.tunnel_id = own == IDENTITY_HOST ? IDENTITY_REMOTE_NODE : own;
	key.remote_ipv4 = swap32(remote->tunnel[0]);
	key.tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS;
}

__inline_always int to_overlay6(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return PASS; /* encapsulated by a program already: a pod's */
	begin6(skb, METRIC_EGRESS);
	return report6(skb, handle_to_overlay6(skb));
}

#endif
