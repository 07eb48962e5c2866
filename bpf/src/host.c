/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's own packets on their way into the tunnel.
 */
#include "../include/host6.h"

/* Whatever the node itself sends, an answer is welcome: also after its entry was evicted, or
 * programs were loaded under a connection that stands. */
__inline_always void expect_answer(struct packet *packet, __u32 bytes)
{
	struct ct_key key = packet->tuple;

	key.flags = CT_OUT;
	if (!ct_track(&key, packet, bytes, 0))
		ct_open(&key, IDENTITY_HOST, bytes);
}

/* tcx egress, cilium_vxlan: routes lead pod CIDRs of other nodes here. */
__inline_always int handle_to_overlay(struct __sk_buff *skb)
{
	struct node_config_value *node;
	struct bpf_tunnel_key key = {};
	struct ipcache_value *remote;
	struct packet packet = {};
	int reason;
	__u32 own;

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return PASS; /* encapsulated by a program already: a pod's */
	if (skb->protocol != swap16(ETHERTYPE_IPV4))
		return drop(skb, DROP_UNSUPPORTED_L3, METRIC_EGRESS);
	reason = parse(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	/* what is only forwarded must not become a node's word on the way */
	own = own_identity(packet.tuple.saddr);
	if (!own)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	remote = ipcache_of(packet.tuple.daddr);
	node = node_config();
	if (!node)
		return drop(skb, DROP_NO_CONFIG, METRIC_EGRESS);
	if (!remote || !remote->tunnel[0] || remote->tunnel[0] == node->node_ip ||
	    (remote->flags & IPCACHE_SKIP_TUNNEL))
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	expect_answer(&packet, skb->len);

	__builtin_memset(&key, 0, sizeof(key)); /* the look-up failed into it */
	key.tunnel_id = own == IDENTITY_HOST ? IDENTITY_REMOTE_NODE : own;
	key.remote_ipv4 = swap32(remote->tunnel[0]);
	key.tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS;
}

int cil_to_overlay(struct __sk_buff *skb)
{
	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return to_overlay6(skb);
	begin(skb, METRIC_EGRESS);
	return report(skb, handle_to_overlay(skb));
}
