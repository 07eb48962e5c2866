/* SPDX-License-Identifier: Apache-2.0
 *
 * As nat.h, for packets of IPv6. The header has no checksum of its own: an address counts in
 * that of the transport only, and of ICMPv6.
 */
#ifndef CLUSTERMESH_NAT6_H
#define CLUSTERMESH_NAT6_H

#include "host6.h"
#include "nat.h"
#include "natmaps6.h"

#define IP6_SOURCE 8
#define IP6_DESTINATION 24

/* ct_value.nat_addr is an address from end to end here. What NAT_DEVICE and NAT_BACKEND say in IPv4 stands in
 * a field that nothing else uses. */
#define nat6_other last_rx_report

struct ends6 {
	struct address6 saddr;
	struct address6 daddr;
	__u16 sport; /* BE */
	__u16 dport;
};

__inline_always int is_unset6(struct address6 *address)
{
	return !(address->words[0] | address->words[1] | address->words[2] | address->words[3]);
}

__inline_always struct nodeport6_config_value *nodeport6_config(void)
{
	int index = 0;

	return cilium_nodeport6_config.lookup(&index);
}

/* `ip`: where the header begins; `l4_checksum`: 0 if there is none to be changed. Where a device has summed
 * up the whole frame (CHECKSUM_COMPLETE) its sum has the new address in the end: bpf_l4_csum_replace takes
 * the old one's place for that of a header with a checksum. */
__inline_always int replace_address6(struct __sk_buff *skb, __u32 ip, __u32 field, __u32 l4_checksum,
				     struct address6 *old, struct address6 *new, __u64 flags)
{
	__s64 change;

	if (same6(old, new))
		return 0;
	change = bpf_csum_diff((__be32 *)old, sizeof(*old), (__be32 *)new, sizeof(*new), 0);
	if (l4_checksum && bpf_l4_csum_replace(skb, l4_checksum, 0, change, BPF_F_PSEUDO_HDR | flags))
		return -1;
	bpf_csum_update(skb, change);
	return bpf_skb_store_bytes(skb, ip + field, new, sizeof(*new), 0) ? -1 : 0;
}

/* The packet, of TCP or UDP, gets these ends. A later fragment has no ports to be changed. */
__inline_always int translate_packet6(struct __sk_buff *skb, struct packet6 *packet, struct ends6 *to)
{
	__u64 flags = packet->tuple.nexthdr == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 l4 = packet->l4, checksum = 0;

	if (l4)
		checksum = l4 + (packet->tuple.nexthdr == PROTO_UDP ? UDP_CHECKSUM : TCP_CHECKSUM);
	if (replace_address6(skb, ETH_HEADER, IP6_SOURCE, checksum, &packet->tuple.saddr, &to->saddr, flags) ||
	    replace_address6(skb, ETH_HEADER, IP6_DESTINATION, checksum, &packet->tuple.daddr, &to->daddr, flags))
		return DROP_WRITE_ERROR;
	if (checksum && (replace_port(skb, l4, checksum, packet->tuple.sport, to->sport, flags) ||
			 replace_port(skb, l4 + 2, checksum, packet->tuple.dport, to->dport, flags)))
		return DROP_WRITE_ERROR;
	packet->tuple.saddr = to->saddr;
	packet->tuple.daddr = to->daddr;
	packet->tuple.sport = to->sport;
	packet->tuple.dport = to->dport;
	packet->policy_port = to->dport;
	return 0;
}

/* A backend's answer, `packet` from it to its client: the client is told what it believes, and gets it
 * by the device that it came by. */
__inline_always int answer_client6(struct __sk_buff *skb, struct packet6 *packet, struct ct6_key *opened)
{
	struct ct_value *value = cilium_ct6_global.lookup(opened);
	struct ends6 to = {};
	__u32 device;
	int reason;

	if (!value)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_EGRESS);
	__builtin_memcpy(&to.saddr, value->nat_addr, sizeof(to.saddr));
	to.sport = value->nat_port;
	to.daddr = opened->saddr;
	to.dport = opened->sport;
	device = value->nat6_other;
	ct6_track(opened, packet, skb->len, 1);
	reason = translate_packet6(skb, packet, &to);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(device, 0, 0, 0);
}

/* An answer of a pod of this node to a client that has its own address towards the pod. Is it one? */
__inline_always int is_answer_of_pod6(struct packet6 *packet, struct ct6_key *opened)
{
	if (packet->tuple.nexthdr != PROTO_TCP && packet->tuple.nexthdr != PROTO_UDP)
		return 0;
	ct6_reverse(opened, &packet->tuple);
	opened->flags = CT_SERVICE | CT_IN;
	return cilium_ct6_global.lookup(opened) != 0;
}

/* An answer to the address and port of this node that a backend sees. Is it one? */
__inline_always int is_answer_to_relay6(struct packet6 *packet, struct ct6_key *opened)
{
	struct ct6_key key WORDS = packet->tuple;
	struct snat6_value *client;

	if (packet->tuple.nexthdr != PROTO_TCP && packet->tuple.nexthdr != PROTO_UDP)
		return 0;
	if (swap16(packet->tuple.dport) < NAT_PORT_FIRST)
		return 0;
	key.flags = CT_IN;
	client = cilium_snat_v6_external.lookup(&key);
	if (!client)
		return 0;
	ct6_reverse(opened, &packet->tuple);
	opened->saddr = client->address;
	opened->sport = client->port;
	opened->flags = CT_SERVICE | CT_IN;
	return 1;
}

#endif
