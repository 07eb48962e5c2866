/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pod says on its link, which has nobody but the host on it: neighbour discovery,
 * and multicast of link scope. None of it goes further, for who may say it could speak for
 * any neighbour: a forged advertisement, or a router's, would be believed.
 */
#ifndef CLUSTERMESH_NEIGHBOUR_H
#define CLUSTERMESH_NEIGHBOUR_H

#include "events6.h"

#define NEIGHBOUR_SOLICITATION 135
#define NEIGHBOUR_ADVERTISEMENT 136
#define NEIGHBOUR_HOPS 255 /* with less it has come through a router, and is not believed */
#define ADVERTISED_FLAGS 0xe0 /* router, solicited, override */
#define OPTION_TARGET_MAC 2

struct neighbour_message {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u8 flags;
	__u8 reserved[3];
	struct address6 target;
	__u8 option; /* the rest is in answers */
	__u8 option_length;
	__u8 mac[MAC_LENGTH];
};

struct neighbour_answer {
	struct address6 saddr; /* as the checksum wants them */
	struct address6 daddr;
	__u32 length;
	__u32 protocol;
	struct neighbour_message message;
};

#define SOLICITATION (8 + 16)
#define ADVERTISEMENT sizeof(struct neighbour_message)

__inline_always __u16 checksum_of(void *from, __u32 size)
{
	__u32 sum = bpf_csum_diff(0, 0, from, size, 0);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The host side's MAC, as the pod is to know it. A probe of a known neighbour comes from the pod's
 * link-local address, which no map has, but to the right MAC, as the kernel found. */
__inline_always int host_mac(struct __sk_buff *skb, struct address6 *pod, __u8 *mac)
{
	struct endpoint_value *endpoint = endpoint6_here(skb, pod);

	if (endpoint) {
		__builtin_memcpy(mac, &endpoint->node_mac, MAC_LENGTH);
		return 1;
	}
	return is_link_local(pod) && skb->pkt_type == PACKET_FOR_US && !bpf_skb_load_bytes(skb, 0, mac, MAC_LENGTH);
}

/* The frame of the question becomes that of the answer. */
__inline_always int answer_neighbour(struct __sk_buff *skb, struct address6 *asker, struct address6 *target,
				     __u8 *mac)
{
	struct neighbour_answer answer = {};
	__u16 length = swap16(ADVERTISEMENT);
	__u8 macs[2 * MAC_LENGTH];

	answer.saddr = *target;
	answer.daddr = *asker;
	answer.length = swap32(ADVERTISEMENT);
	answer.protocol = swap32(PROTO_ICMPV6);
	answer.message.type = NEIGHBOUR_ADVERTISEMENT;
	answer.message.flags = ADVERTISED_FLAGS;
	answer.message.target = *target;
	answer.message.option = OPTION_TARGET_MAC;
	answer.message.option_length = 1; /* times eight */
	__builtin_memcpy(answer.message.mac, mac, MAC_LENGTH);
	answer.message.checksum = checksum_of(&answer, sizeof(answer));

	if (bpf_skb_load_bytes(skb, MAC_LENGTH, macs, MAC_LENGTH))
		return drop(skb, DROP_INVALID_PACKET, METRIC_EGRESS);
	__builtin_memcpy(macs + MAC_LENGTH, mac, MAC_LENGTH);
	if (bpf_skb_change_tail(skb, ETH_HEADER + IP6_HEADER + ADVERTISEMENT, 0) ||
	    bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HEADER + 4, &length, sizeof(length), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HEADER + 8, &answer, 2 * sizeof(struct address6), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HEADER + IP6_HEADER, &answer.message, ADVERTISEMENT, 0))
		return drop(skb, DROP_WRITE_ERROR, METRIC_EGRESS);
	return bpf_redirect(skb->ifindex, 0);
}

/* A pod has a /128 and a gateway of link scope: whatever it asks for, the answer is the host's side of
 * the veth; to whom asks whether an address is free, none. Its own answers go to the stack, which asked. */
__inline_always int hear_neighbour(struct __sk_buff *skb, struct packet6 *packet)
{
	struct neighbour_message message;
	struct address6 *asker = &packet->tuple.saddr;
	__u8 mac[MAC_LENGTH];

	if (packet->icmp_type != NEIGHBOUR_SOLICITATION && packet->icmp_type != NEIGHBOUR_ADVERTISEMENT)
		return IGNORED;
	if (packet->hop_limit != NEIGHBOUR_HOPS || packet->l4 != ETH_HEADER + IP6_HEADER ||
	    bpf_skb_load_bytes(skb, packet->l4, &message, SOLICITATION))
		return drop(skb, DROP_INVALID_PACKET, METRIC_EGRESS);
	if (packet->icmp_type == NEIGHBOUR_ADVERTISEMENT)
		return endpoint6_here(skb, &message.target) || is_link_local(&message.target) ? PASS : IGNORED;
	if (!(asker->words[0] | asker->words[1] | asker->words[2] | asker->words[3]))
		return IGNORED;
	if (!host_mac(skb, asker, mac))
		return is_link_local(asker) ? IGNORED : drop(skb, DROP_INVALID_SOURCE_IP, METRIC_EGRESS);
	if (endpoint6_here(skb, &message.target))
		return IGNORED;
	return answer_neighbour(skb, asker, &message.target, mac);
}

#endif
