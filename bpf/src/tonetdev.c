/* SPDX-License-Identifier: Apache-2.0
 *
 * tcx egress of the devices that have the node's address: answers of the node's own processes to
 * clients that asked a service. Everything else passes, unjudged.
 */
#include "../include/ownprocess6.h"

__inline_always int handle_to_netdev(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct ct_key opened = {};
	struct ip_header ip;

	if (skb->protocol != swap16(ETHERTYPE_IPV4) || bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return NOT_OURS;
	if (!is_own_address(ip.saddr))
		return NOT_OURS;
	if (ip.protocol != PROTO_TCP && ip.protocol != PROTO_UDP && ip.protocol != PROTO_ICMP)
		return NOT_OURS;
	if (parse(skb, &packet))
		return NOT_OURS;
	if (ip.protocol == PROTO_UDP && packet.tuple.dport == swap16(VXLAN_PORT)) /* the tunnel: no look-up */
		return NOT_OURS;
	if (is_answer_of_pod(&packet, &opened))
		return answer_as_service(skb, &packet, &opened);
	if (is_error_of_pod(&packet, &opened))
		return tell_client(skb, &packet, &opened);
	return NOT_OURS;
}

int cil_to_netdev(struct __sk_buff *skb)
{
	int verdict;

	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return to_netdev6(skb);
	begin(skb, METRIC_EGRESS);
	verdict = handle_to_netdev(skb);
	return verdict == NOT_OURS ? PASS : report(skb, verdict);
}
