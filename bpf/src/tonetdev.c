/* SPDX-License-Identifier: Apache-2.0
 *
 * tcx egress of the devices that have the node's address: answers of the node's own processes to
 * clients that asked a service. Everything else passes, unjudged.
 */
#include "../include/ownprocess6.h"

/* A packet without options, as the tunnel's are. */
struct head {
	struct ip_header ip;
	__u16 sport;
	__u16 dport;
};

__inline_always int is_tunnelled(struct head *head)
{
	return head->ip.protocol == PROTO_UDP && head->ip.version_ihl == 0x45 &&
	       !(head->ip.fragment & swap16(FRAGMENT_OFFSET)) && head->dport == swap16(VXLAN_PORT);
}

/* Most of what leaves a node is the tunnel's: it must cost little. */
__inline_always int may_be_answer(struct __sk_buff *skb)
{
	struct head head;

	if (skb->protocol != swap16(ETHERTYPE_IPV4) || bpf_skb_load_bytes(skb, ETH_HEADER, &head, sizeof(head)))
		return 0;
	if (head.ip.protocol != PROTO_TCP && head.ip.protocol != PROTO_UDP && head.ip.protocol != PROTO_ICMP)
		return 0;
	return !is_tunnelled(&head) && is_own_address(head.ip.saddr);
}

__inline_always int handle_to_netdev(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct ct_key opened = {};

	if (parse(skb, &packet))
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
	if (!may_be_answer(skb))
		return PASS;
	begin(skb, METRIC_EGRESS);
	verdict = handle_to_netdev(skb);
	return verdict == NOT_OURS ? PASS : report(skb, verdict);
}
