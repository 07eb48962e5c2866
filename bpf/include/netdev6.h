/* SPDX-License-Identifier: Apache-2.0
 *
 * As netdev.c, for packets of IPv6.
 */
#ifndef CLUSTERMESH_NETDEV6_H
#define CLUSTERMESH_NETDEV6_H

#include "netdeverror6.h"
#include "nodeport6.h"

/* cilium_scratch6: what cil_from_netdev knows of the packet in its hands, as it does not fit on the stack. One
 * a CPU: a program on ingress is not interrupted by another one there. */
struct scratch6 {
	struct packet6 packet;
	struct ct6_key asked WORDS;
	__u8 pad[2];
	struct ends6 to;
	__u8 pad2[4];
};

BPF_TABLE_PINNED("percpu_array", int, struct scratch6, cilium_scratch6, 1, MAP_ROOT "/cilium_scratch6", 0);

__inline_always struct lb6_backend_value *choose6_by_hash(struct lb6_service_key *key, struct ct6_key *tuple,
							  struct lb4_service_value *service, __u32 *id)
{
	struct lb6_backend_value *backend = 0;

	*id = maglev6_choice(service->rev_nat_index, tuple);
	if (*id)
		backend = backend6_of(*id);
	return backend ? backend : choose6_now(key, service, id);
}

/* What the service chooses for a client from outside. Affinity is by the client's address here. */
__inline_always struct lb6_backend_value *choose6_outside(struct lb6_service_key *key, struct ct6_key *tuple,
							  struct lb4_service_value *service, __u32 *id)
{
	struct lb6_affinity_key client = {};

	if (!(service->flags & SERVICE_SESSION_AFFINITY))
		return choose6_by_hash(key, tuple, service, id);
	__builtin_memcpy(&client.client, &tuple->saddr, sizeof(tuple->saddr)); /* and client_rest */
	client.rev_nat_id = service->rev_nat_index;
	return choose6_for(&client, key, service, id);
}

/* The backend of a connection that is known. An established one keeps it even if the service has lost it. */
__inline_always int chosen_before6(struct packet6 *packet, struct ct6_key *asked, struct ends6 *to)
{
	struct ct_value *value = cilium_ct6_global.lookup(asked);

	if (!value || value->lifetime < now_seconds())
		return 0;
	__builtin_memcpy(&to->daddr, value->nat_addr, sizeof(to->daddr));
	to->dport = value->nat_port;
	if (packet->tuple.nexthdr != PROTO_TCP || packet->opens) {
		struct ct6_key towards WORDS = packet->tuple;
		struct ct_value *relay;

		if (!backend6_of(value->nat6_other))
			return 0;
		towards.daddr = to->daddr;
		towards.dport = to->dport;
		towards.flags = CT_SERVICE | CT_IN;
		relay = cilium_ct6_global.lookup(&towards);
		if (packet->opens && (!relay || relay->lifetime < now_seconds() ||
				      (relay->flags & (CT_RX_CLOSING | CT_TX_CLOSING))))
			return 0; /* no SYN again: the client uses its port anew */
	}
	return 1;
}

__inline_always void remember6(struct ct6_key *key, struct address6 *address, __u16 port, __u32 other)
{
	struct ct_value value = {};

	value.lifetime = now_seconds() + LIFETIME_OPENING;
	__builtin_memcpy(value.nat_addr, address, sizeof(*address));
	value.nat_port = port;
	value.nat6_other = other;
	cilium_ct6_global.update(key, &value);
}

/* The node stands for the client: with an address and port of its own. 0, or why it cannot. */
__inline_always int relayed_as6(struct __sk_buff *skb, struct packet6 *packet, struct ends6 *to,
				struct ipcache_value *remote)
{
	struct ct6_key towards WORDS = packet->tuple;

	towards.daddr = to->daddr;
	towards.dport = to->dport;
	towards.flags = CT_OUT;
	relay_address6(remote, &to->saddr);
	if (!is_unset6(&to->saddr))
		to->sport = relay_port6(skb, &towards, &to->saddr);
	return to->sport ? 0 : DROP_NAT_NO_MAPPING;
}

__inline_always int to_backend6(struct __sk_buff *skb, struct packet6 *packet, struct ct6_key *asked,
				struct ends6 *to, int is_new)
{
	struct ct6_key opened WORDS = packet->tuple;
	struct ipcache_value *remote = 0;
	struct endpoint_value *local;
	__u32 identity;
	int is_own, reason = 0;

	if (same6(&to->daddr, &asked->daddr) && to->dport == asked->dport)
		return NOT_OURS; /* a process of this node, as it was asked for */
	identity = outside6_identity(skb, &asked->saddr);
	if (!identity)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	opened.daddr = to->daddr;
	opened.dport = to->dport;
	opened.flags = CT_SERVICE | CT_IN;
	if (is_new || !ct6_track(&opened, packet, skb->len, 0))
		remember6(&opened, &asked->daddr, asked->dport, skb->ifindex);
	is_own = is_own_address6(&to->daddr);
	local = endpoint6_of(&to->daddr);
	if (local || is_own) {
		to->saddr = packet->tuple.saddr;
		to->sport = packet->tuple.sport;
	} else {
		remote = ipcache6_of(&to->daddr);
		reason = relayed_as6(skb, packet, to, remote);
	}
	if (!reason)
		reason = translate_packet6(skb, packet, to);
	if (is_own)
		return to_own_process6(skb, reason);
	return hand_over6(skb, packet, local, remote, identity, reason);
}

/* `asked` and `to` are empty, and the caller's because this program's stack is full. */
__inline_always int handle_service6(struct __sk_buff *skb, struct packet6 *packet, struct ct6_key *asked,
				    struct ends6 *to)
{
	struct lb4_service_value *service;
	struct lb6_backend_value *backend;
	struct lb6_service_key key = {};
	int is_new = 0;
	__u32 id = 0;

	*asked = packet->tuple;
	asked->flags = CT_SERVICE;
	key.address = asked->daddr;
	key.dport = asked->dport;
	key.proto = asked->nexthdr;
	service = service6_outside(&key);
	if (service && !in_source_ranges6(service, &asked->saddr))
		return drop(skb, DROP_NOT_IN_SOURCE_RANGE, METRIC_INGRESS);
	/* established connections outlive their service */
	if ((service || (asked->nexthdr == PROTO_TCP && !packet->opens)) && chosen_before6(packet, asked, to)) {
		ct6_track(asked, packet, skb->len, 0);
	} else {
		if (!service) {
			meets_own_process6(packet);
			return NOT_OURS;
		}
		if (!service->count)
			return drop(skb, NO_BACKEND, METRIC_SERVICE);
		backend = choose6_outside(&key, asked, service, &id);
		if (!backend)
			return drop(skb, NO_BACKEND_SLOT, METRIC_SERVICE);
		to->daddr = backend->address;
		to->dport = backend->port;
		remember6(asked, &to->daddr, to->dport, id);
		is_new = 1;
	}
	return to_backend6(skb, packet, asked, to, is_new);
}

/* Does a routing header say that the destination is not the last one? Then the transport's checksum is over
 * another address, and the packet is not for whom it seems. */
__inline_always int is_routed(struct __sk_buff *skb)
{
	__u32 offset = ETH_HEADER + IP6_HEADER;
	__u8 next, head[2];
	int i;

	if (bpf_skb_load_bytes(skb, ETH_HEADER + 6, &next, 1))
		return 1;
#pragma clang loop unroll(disable)
	for (i = 0; i <= EXTENSIONS; i++) {
		if (next == PROTO_ROUTING)
			return 1;
		if (next != PROTO_HOP_BY_HOP && next != PROTO_DESTINATION && next != PROTO_FRAGMENT)
			return 0;
		if (bpf_skb_load_bytes(skb, offset, head, 2))
			return 1;
		offset += next == PROTO_FRAGMENT ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	return 1;
}

/* tcx ingress, the underlay. Neighbour discovery and all that is of the link are the stack's. */
__inline_always int handle_from_netdev6(struct __sk_buff *skb)
{
	struct nodeport6_config_value *config = nodeport6_config();
	struct ct6_key opened WORDS = {};
	struct packet6 *packet;
	struct scratch6 *scratch;
	int index = 0;

	scratch = __builtin_assume_aligned(cilium_scratch6.lookup(&index), 8);
	if (!config || !scratch)
		return NOT_OURS;
	__builtin_memset(scratch, 0, sizeof(*scratch));
	packet = &scratch->packet;
	if (parse6(skb, packet) || is_link_local(&packet->tuple.saddr) || is_routed(skb))
		return NOT_OURS;
	if (packet->tuple.nexthdr == PROTO_ICMPV6)
		return handle_error6(skb, packet);
	if (packet->tuple.nexthdr != PROTO_TCP && packet->tuple.nexthdr != PROTO_UDP)
		return NOT_OURS;
	if (same6(&packet->tuple.daddr, &config->node_ip) && is_answer_to_relay6(packet, &opened))
		return answer_client6(skb, packet, &opened);
	return handle_service6(skb, packet, &scratch->asked, &scratch->to);
}

__inline_always int from_netdev6(struct __sk_buff *skb)
{
	int verdict;

	begin6(skb, METRIC_INGRESS);
	verdict = handle_from_netdev6(skb);
	return verdict == NOT_OURS ? PASS : report6(skb, verdict);
}

#endif
