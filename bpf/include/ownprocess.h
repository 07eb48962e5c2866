/* SPDX-License-Identifier: Apache-2.0
 *
 * A process on this node's own network (a pod with hostNetwork) behind a service that clients outside
 * ask at another address or port than the process has.
 *
 * Its socket sees the client and its own port. What it answers passes no program of ours on the way to
 * the device, so it is turned back on the device itself, at egress.
 */
#ifndef CLUSTERMESH_OWNPROCESS_H
#define CLUSTERMESH_OWNPROCESS_H

#include "naterror.h"

#define VXLAN_PORT 8472

__inline_always int is_own_address(__u32 address)
{
	struct node_config_value *node = node_config();

	return node && node->node_ip == address;
}

__inline_always int to_own_process(struct __sk_buff *skb, struct packet *packet, struct ends *to)
{
	int reason;

	to->saddr = packet->tuple.saddr;
	to->sport = packet->tuple.sport;
	reason = translate_packet(skb, packet, to);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

/* A client that opens a connection to the process itself, from the port of an earlier one by the
 * service, must not be answered in the service's name. */
__inline_always void meets_own_process(struct packet *packet)
{
	struct ct_key opened = packet->tuple;

	if (packet->tuple.nexthdr != PROTO_TCP || !packet->opens || !is_own_address(packet->tuple.daddr))
		return;
	opened.flags = CT_SERVICE | CT_IN;
	cilium_ct4_global.delete(&opened);
}

/* An error about an answer of such a process, from somebody on the way to its client. */
__inline_always int tell_own_process(struct __sk_buff *skb, struct packet *packet, struct ends *outer,
				     struct ends *quoted)
{
	int reason = translate_error(skb, packet, outer, quoted);

	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

/* The process's answer leaves as the service's, by the device that the stack has chosen. */
__inline_always int answer_as_service(struct __sk_buff *skb, struct packet *packet, struct ct_key *opened)
{
	struct ct_value *value = cilium_ct4_global.lookup(opened);
	struct ends to = {};
	int reason;

	if (!value)
		return PASS;
	to.saddr = value->nat_addr[NAT_ADDRESS];
	to.sport = value->nat_port;
	to.daddr = packet->tuple.daddr;
	to.dport = packet->tuple.dport;
	ct_track(opened, packet, skb->len, 1);
	reason = translate_packet(skb, packet, &to);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS;
}

#endif
