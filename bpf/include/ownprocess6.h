/* SPDX-License-Identifier: Apache-2.0
 *
 * As ownprocess.h and tonetdev.c, for IPv6.
 */
#ifndef CLUSTERMESH_OWNPROCESS6_H
#define CLUSTERMESH_OWNPROCESS6_H

#include "naterror6.h"
#include "ownprocess.h"

__inline_always int is_own_address6(struct address6 *address)
{
	struct nodeport6_config_value *config = nodeport6_config();

	return config && !is_unset6(address) && same6(&config->node_ip, address);
}

/* What was translated is the node's own now. */
__inline_always int to_own_process6(struct __sk_buff *skb, int reason)
{
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

/* See meets_own_process. */
__inline_always void meets_own_process6(struct packet6 *packet)
{
	struct ct6_key opened WORDS = packet->tuple;

	if (packet->tuple.nexthdr != PROTO_TCP || !packet->opens || !is_own_address6(&packet->tuple.daddr))
		return;
	opened.flags = CT_SERVICE | CT_IN;
	cilium_ct6_global.delete(&opened);
}

/* The process's answer leaves as the service's, by the device that the stack has chosen. */
__inline_always int answer_as_service6(struct __sk_buff *skb, struct packet6 *packet, struct ct6_key *opened)
{
	struct ct_value *value = cilium_ct6_global.lookup(opened);
	struct ends6 to = {};
	int reason;

	if (!value)
		return PASS;
	__builtin_memcpy(&to.saddr, value->nat_addr, sizeof(to.saddr));
	to.sport = value->nat_port;
	to.daddr = packet->tuple.daddr;
	to.dport = packet->tuple.dport;
	ct6_track(opened, packet, skb->len, 1);
	reason = translate_packet6(skb, packet, &to);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return PASS;
}

/* tcx egress of the devices that have the node's address. */
__inline_always int handle_to_netdev6(struct __sk_buff *skb)
{
	struct packet6 packet = {};
	struct ct6_key opened WORDS = {};
	struct ip6_header ip;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)) || !is_own_address6(&ip.saddr))
		return NOT_OURS;
	if (parse6(skb, &packet))
		return NOT_OURS;
	if (is_answer_of_pod6(&packet, &opened))
		return answer_as_service6(skb, &packet, &opened);
	if (is_error_of_pod6(&packet, &opened))
		return tell_client6(skb, &packet, &opened);
	return NOT_OURS;
}

__inline_always int to_netdev6(struct __sk_buff *skb)
{
	int verdict;

	begin6(skb, METRIC_EGRESS);
	verdict = handle_to_netdev6(skb);
	return verdict == NOT_OURS ? PASS : report6(skb, verdict);
}

#endif
