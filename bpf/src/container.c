/* SPDX-License-Identifier: Apache-2.0
 *
 * The two programs on the host's side of a pod's veth.
 */
#include "../include/container6.h"
#include "../include/host.h"
#include "../include/naterror.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp_packet {
	__u16 hardware;
	__u16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__u16 operation;
	__u8 sender_mac[MAC_LENGTH];
	__u8 sender_ip[4];
	__u8 target_mac[MAC_LENGTH];
	__u8 target_ip[4];
} __attribute__((packed));

/* A pod has a /32 and a gateway of link scope: whatever it asks for, the answer
 * is the host's side of the veth. Its own answers go to the stack, which asked. */
__inline_always int answer_arp(struct __sk_buff *skb)
{
	struct endpoint_value *endpoint;
	__u8 macs[2 * MAC_LENGTH];
	struct arp_packet arp;
	__u32 sender, target;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &arp, sizeof(arp)))
		return drop(skb, DROP_INVALID_PACKET, METRIC_EGRESS);
	__builtin_memcpy(&sender, arp.sender_ip, 4);
	__builtin_memcpy(&target, arp.target_ip, 4);
	endpoint = endpoint_of(sender);
	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	if (arp.operation != swap16(ARP_REQUEST) || sender == target)
		return PASS; /* an answer, or an announcement */

	arp.operation = swap16(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, MAC_LENGTH);
	__builtin_memcpy(arp.sender_mac, &endpoint->node_mac, MAC_LENGTH);
	__builtin_memcpy(arp.target_ip, &sender, 4);
	__builtin_memcpy(arp.sender_ip, &target, 4);
	__builtin_memcpy(macs, arp.target_mac, MAC_LENGTH);
	__builtin_memcpy(macs + MAC_LENGTH, &endpoint->node_mac, MAC_LENGTH);
	if (bpf_skb_store_bytes(skb, ETH_HEADER, &arp, sizeof(arp), 0) ||
	    bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return drop(skb, DROP_WRITE_ERROR, METRIC_EGRESS);
	return bpf_redirect(skb->ifindex, 0);
}

/* Through the tunnel, with the sender's identity as VNI. The inner MACs do not
 * matter: the receiving node rewrites them. */
__inline_always int encapsulate(struct __sk_buff *skb, __u32 tunnel, __u32 identity)
{
	struct node_config_value *node = node_config();
	struct bpf_tunnel_key key = {};

	if (!node || !node->vxlan_ifindex)
		return drop(skb, DROP_NO_CONFIG, METRIC_EGRESS);
	if (tunnel == node->node_ip) /* ours, but no such endpoint: it would circle */
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_EGRESS);
	key.tunnel_id = identity;
	key.remote_ipv4 = swap32(tunnel); /* host byte order, unlike everything else */
	key.tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return bpf_redirect(node->vxlan_ifindex, 0);
}

/* tcx ingress: what a pod sends. */
__inline_always int handle_from_container(struct __sk_buff *skb)
{
	struct endpoint_value *source, *local;
	struct ipcache_value *remote;
	struct packet packet = {};
	struct question ask = {};
	struct ct_key opened = {};
	int reason;

	if (skb->protocol == swap16(ETHERTYPE_ARP))
		return answer_arp(skb);
	if (skb->protocol != swap16(ETHERTYPE_IPV4))
		return drop(skb, DROP_UNSUPPORTED_L3, METRIC_EGRESS);
	reason = parse(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	source = endpoint_of(packet.tuple.saddr);
	if (!source || source->ifindex != skb->ifindex)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	if (source->sec_id <= IDENTITY_HOST || source->sec_id >= IDENTITY_WIRE_LIMIT)
		return drop(skb, DROP_INVALID_IDENTITY, METRIC_EGRESS);

	local = endpoint_of(packet.tuple.daddr);
	remote = ipcache_of(packet.tuple.daddr);
	ask.peer = local ? local->sec_id : remote ? remote->identity : IDENTITY_WORLD;
	ask.source = source->sec_id;
	ask.lxc_id = source->lxc_id;
	ask.direction = DIRECTION_EGRESS;
	ask.ranges = !!(source->flags & ENDPOINT_PORT_RANGES);
	ask.enforced = !!(source->flags & ENDPOINT_EGRESS_ENFORCED);
	reason = admit(skb, &packet, &ask);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);

	if (local) {
		reason = admit_ingress(skb, &packet, local, source->sec_id);
		if (reason)
			return drop(skb, reason, METRIC_INGRESS);
		return deliver(skb, local);
	}
	if (remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL))
		return encapsulate(skb, remote->tunnel[0], source->sec_id);
	if (is_answer_of_pod(&packet, &opened))
		return answer_client(skb, &packet, &opened);
	if (is_error_of_pod(&packet, &opened))
		return tell_client(skb, &packet, &opened);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS; /* nodes and the world: the stack's business */
}

int cil_from_container(struct __sk_buff *skb)
{
	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return from_container6(skb);
	begin(skb, METRIC_EGRESS);
	return report(skb, handle_from_container(skb));
}

/* Who speaks through the stack? An identity of a pod elsewhere may only arrive by
 * the tunnel; 0 is no identity. */
__inline_always __u32 stack_identity(__u32 address)
{
	struct node_config_value *node = node_config();
	struct ipcache_value *entry;

	if (node && node->node_ip == address)
		return IDENTITY_HOST;
	entry = ipcache_of(address);
	if (!entry)
		return IDENTITY_WORLD;
	if (entry->identity >= IDENTITY_FIRST_ALLOCATED && entry->tunnel[0] &&
	    !(entry->flags & IPCACHE_SKIP_TUNNEL)) /* native routing: from the network after all */
		return 0;
	return entry->identity;
}

/* tcx egress: what the node's stack sends to a pod. */
__inline_always int handle_to_container(struct __sk_buff *skb)
{
	struct endpoint_value *endpoint;
	struct packet packet = {};
	__u32 identity;
	int reason;

	if (skb->protocol == swap16(ETHERTYPE_ARP))
		return PASS;
	if (skb->protocol != swap16(ETHERTYPE_IPV4))
		return drop(skb, DROP_UNSUPPORTED_L3, METRIC_INGRESS);
	reason = parse(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	endpoint = endpoint_of(packet.tuple.daddr);
	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_INGRESS);
	identity = stack_identity(packet.tuple.saddr);
	if (!identity || is_forged(skb, packet.tuple.saddr))
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	reason = admit_ingress(skb, &packet, endpoint, identity);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

int cil_to_container(struct __sk_buff *skb)
{
	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return to_container6(skb);
	begin(skb, METRIC_INGRESS);
	return report(skb, handle_to_container(skb));
}
