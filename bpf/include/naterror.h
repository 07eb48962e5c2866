/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors about connections of node ports. An error quotes the packet that it is about, and
 * whoever gets it must find its own packet there.
 */
#ifndef CLUSTERMESH_NATERROR_H
#define CLUSTERMESH_NATERROR_H

#include "nat.h"

#define ICMP_HEADER 8
#define ICMP_CHECKSUM 2

/* The error, and the packet that it quotes, get these ends. Its checksum needs no change for the
 * quoted addresses: the quoted header's own checksum changes against them. */
__inline_always int translate_error(struct __sk_buff *skb, struct packet *packet, struct ends *outer,
				    struct ends *quoted)
{
	struct ct_key *about = &packet->about;
	__u32 icmp, inner, ports;
	__u8 length;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &length, 1))
		return DROP_INVALID_PACKET;
	icmp = ETH_HEADER + (length & 0xf) * 4;
	inner = icmp + ICMP_HEADER;
	if (bpf_skb_load_bytes(skb, inner, &length, 1))
		return DROP_INVALID_PACKET;
	ports = inner + (length & 0xf) * 4;
	if (replace_address(skb, ETH_HEADER, IP_SOURCE, 0, packet->tuple.saddr, outer->saddr, 0) ||
	    replace_address(skb, ETH_HEADER, IP_DESTINATION, 0, packet->tuple.daddr, outer->daddr, 0) ||
	    replace_address(skb, inner, IP_SOURCE, 0, about->saddr, quoted->saddr, 0) ||
	    replace_address(skb, inner, IP_DESTINATION, 0, about->daddr, quoted->daddr, 0) ||
	    replace_port(skb, ports, icmp + ICMP_CHECKSUM, about->sport, quoted->sport, 0) ||
	    replace_port(skb, ports + 2, icmp + ICMP_CHECKSUM, about->dport, quoted->dport, 0))
		return DROP_WRITE_ERROR;
	packet->tuple.saddr = outer->saddr;
	packet->tuple.daddr = outer->daddr;
	about->saddr = quoted->saddr;
	about->daddr = quoted->daddr;
	about->sport = quoted->sport;
	about->dport = quoted->dport;
	return 0;
}

/* A pod of this node, or what is before it, refuses a packet that a client outside sent. */
__inline_always int is_error_of_pod(struct packet *packet, struct ct_key *opened)
{
	if (!packet->is_error)
		return 0;
	*opened = packet->about;
	opened->flags = CT_SERVICE | CT_IN;
	return cilium_ct4_global.lookup(opened) != 0;
}

/* Somebody on the way to another node's pod refuses a packet that this node relayed. */
__inline_always int is_error_to_relay(struct packet *packet, struct ct_key *opened)
{
	struct snat_value *client;
	struct ct_key back = {};

	if (!packet->is_error || packet->about.saddr != packet->tuple.daddr)
		return 0;
	ct_reverse(&back, &packet->about);
	back.flags = CT_IN;
	client = cilium_snat_v4_external.lookup(&back);
	if (!client)
		return 0;
	*opened = packet->about;
	opened->saddr = client->address;
	opened->sport = client->port;
	opened->flags = CT_SERVICE | CT_IN;
	return 1;
}

/* The client is told of its own packet; the backend's word comes from where the client believes it. */
__inline_always int tell_client(struct __sk_buff *skb, struct packet *packet, struct ct_key *opened)
{
	struct ct_value *value = cilium_ct4_global.lookup(opened);
	struct ends outer = {}, quoted = {};
	__u32 device;
	int reason;

	if (!value)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_EGRESS);
	quoted.saddr = opened->saddr;
	quoted.sport = opened->sport;
	quoted.daddr = value->nat_addr[NAT_ADDRESS];
	quoted.dport = value->nat_port;
	outer.daddr = opened->saddr;
	outer.saddr = packet->tuple.saddr == packet->about.daddr ? quoted.daddr : packet->tuple.saddr;
	device = value->nat_addr[NAT_DEVICE];
	reason = translate_error(skb, packet, &outer, &quoted);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(device, 0, 0, 0);
}

#endif
